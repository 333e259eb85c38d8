"""What people are told of an answer: warnings for the user, annotations for the audit log."""

from __future__ import annotations

from typing import Any

import pytest

from builders import a_pod, a_route, a_slot, a_table, ids, patterns
from replicated_proxy.core.admission import PodReview, Verdict, review_pod
from replicated_proxy.core.pods import Pod
from replicated_proxy.core.reasons import Reason
from replicated_proxy.core.rewriting import RewritePolicy
from replicated_proxy.core.routes import RoutingTable

P = "proxy.replicated.com/proxy/my-app"
ANNOTATION = "proxy.kots.io/original-images"


def review(pod: Pod, table: RoutingTable | None = None, policy: RewritePolicy | None = None) -> Verdict:
    """Review a Pod in the namespace `app`, which is the License's own."""
    return review_pod(PodReview("app", pod), table or a_table(), policy or RewritePolicy())


NAMING: list[tuple[str, dict[str, Any], bool]] = [
    ("label", {"labels": {"proxy.kots.io/app": "other"}}, True),
    ("annotation", {"annotations": {"proxy.kots.io/app": "other"}}, True),
    ("label of KOTS", {"labels": {"kots.io/app-slug": "other"}}, False),
]


@pytest.mark.parametrize(("pod", "told"), [row[1:] for row in NAMING], ids=ids(NAMING))
def test_pod_that_asks_for_a_missing_application_is_told(pod: dict[str, Any], told: bool) -> None:
    """Who names an application expects something; KOTS's own label is on Pods that ask nothing of us."""
    verdict = review(a_pod("nginx", **pod))

    assert verdict.reason is Reason.NO_LICENSE
    assert [text.startswith("images were not proxied (no-license)") for text in verdict.warnings] == [True] * told


UNPROXIABLE = [
    ("[::1]/app", "ipv6-host"),
    ("reg.example.com:5000/api", "port"),
    ("Quay.io/acme/api", "uppercase-host"),
    ("my_host.example.com/app", "no-domain"),
    ("quay.io/" + "a" * 240, "too-long"),
]


@pytest.mark.parametrize(("image", "reason"), UNPROXIABLE, ids=[row[1] for row in UNPROXIABLE])
def test_image_that_cannot_be_proxied_is_told(image: str, reason: str) -> None:
    """The user learns which container was not proxied and why, in 120 characters."""
    (warning,) = review(a_pod(image)).warnings

    assert warning.startswith(f"containers/c0: cannot go through the proxy ({reason})")
    assert len(warning) <= 120


SILENT = ["auto", f"{P}/nginx", "localhost/x", "quay.io/excluded/x"]


@pytest.mark.parametrize("image", SILENT)
def test_image_that_stays_on_purpose_is_not_told(image: str) -> None:
    """What nobody would expect behind the proxy gives no warning."""
    expected = ()

    assert expected == review(a_pod(image), policy=RewritePolicy(exclude=patterns("quay.io/excluded"))).warnings


def test_unclaimed_pod_is_not_told() -> None:
    """Where only `"*"` covers and nothing claims the Pod, somebody else's Pods are not bothered."""
    table = a_table(a_route(namespace="elsewhere", every_namespace=True))
    expected = ()

    assert expected == review(a_pod("reg.example.com:5000/x"), table).warnings


def test_warnings_are_five_at_most() -> None:
    """Many warnings are cut to four and one that counts the rest."""
    warnings = review(a_pod(*(f"reg{number}.example.com:5000/x" for number in range(9)))).warnings
    expected = (5, True)

    assert expected == (len(warnings), "and 5 more" in warnings[-1])


def test_five_warnings_are_shown_in_full() -> None:
    """As many warnings as may be shown are shown, with nothing counted."""
    warnings = review(a_pod(*(f"reg{number}.example.com:5000/x" for number in range(5)))).warnings

    assert [f"reg{number}." in text for number, text in enumerate(warnings)] == [True] * 5


def test_warnings_are_printable() -> None:
    """A hostile container name puts no control characters on a terminal."""
    pod = a_pod(a_slot("reg.example.com:5000/x", name="a\x1b[31m\r\nb"))

    assert all(text.isprintable() for text in review(pod).warnings)


def test_audit_annotations_say_what_was_done() -> None:
    """License and outcome of each image are audited; keys have no slash, which the API server adds."""
    verdict = review(a_pod("nginx", "auto"))
    expected = {"license": "my-app", "images": "containers/c0=rewritten; containers/c1=placeholder"}

    assert expected == verdict.audit


def test_second_review_is_audited_under_keys_of_its_own() -> None:
    """Asked again because of another webhook, the answer does not hide behind the first one in the audit log."""
    verdict = review(a_pod(f"{P}/nginx", "busybox", annotations={ANNOTATION: '{"containers/c0":"nginx"}'}))
    images = "containers/c0=already-proxied; containers/c1=rewritten"

    assert verdict.audit == {"license-again": "my-app", "images-again": images}


def test_audit_annotations_are_bounded() -> None:
    """A Pod with very many containers gives a short audit annotation."""
    verdict = review(a_pod(*["nginx"] * 1_000))

    assert max(map(len, verdict.audit.values())) <= 2048
