"""What a license out of a Secret may choose by itself: no host."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_license, a_license_body
from replicated_proxy.core.license_documents import LicenseDocument, confine_hosts, document_key

CASES: list[tuple[str, str, dict[str, Any], tuple[str, ...], tuple[str, ...]]] = [
    ("nothing", "", {}, (), ()),
    ("the administrator's", "proxy.acme.com", {}, ("proxy.acme.com",), ()),
    ("the same", "proxy.acme.com", {"replicatedProxyDomain": "proxy.acme.com"}, ("proxy.acme.com",), ()),
    ("its own", "", {"replicatedProxyDomain": "evil.example.com"}, (), ("evil.example.com",)),
    (
        "another",
        "proxy.acme.com",
        {"replicatedProxyDomain": "evil.example.com"},
        ("proxy.acme.com",),
        ("evil.example",),
    ),
    (
        "its channel's and its own",
        "",
        {
            "channels": [{"isDefault": True, "replicatedProxyDomain": "a.example.com"}],
            "replicatedProxyDomain": "b.example.com",
        },
        (),
        ("a.example.com", "b.example.com"),
    ),
    (
        "its channel's and its own are one",
        "",
        {
            "channels": [{"isDefault": True, "replicatedProxyDomain": "a.example.com"}],
            "replicatedProxyDomain": "a.example.com",
        },
        (),
        ("a.example.com",),
    ),
    (
        "Replicated's",
        "",
        {"replicatedProxyDomain": "proxy.staging.replicated.com"},
        ("proxy.staging.replicated.com",),
        (),
    ),
]


@pytest.mark.parametrize(
    ("allowed", "spec", "domains", "named"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_administrator_chooses_the_host(
    allowed: str, spec: dict[str, Any], domains: tuple[str, ...], named: tuple[str, ...]
) -> None:
    """Only Replicated's hosts and the administrator's are used; another is named among the problems."""
    document = LicenseDocument(a_license_body(**spec), (), "app/secrets/it/key", allowed)

    lic = confine_hosts(a_license(**spec), document)

    assert lic.proxy_domains == domains
    assert len(lic.problems) == len(named)
    for problem, host in zip(lic.problems, named, strict=True):
        assert host in problem
        assert "proxyHost" in problem


def test_problems_that_it_had_stay() -> None:
    """What parsing found wrong is still told."""
    before = a_license(replicatedProxyDomain="https://no.host/")

    after = confine_hosts(before, LicenseDocument({}, (), "app/secrets/it/key"))

    assert after.problems == before.problems
    assert len(after.problems) == 1


def test_key_is_no_license_objects_key() -> None:
    """A source's key has parts that no `namespace/name` has."""
    assert document_key("app", "it", "a.yaml") == "app/secrets/it/a.yaml"
