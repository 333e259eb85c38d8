"""Licenses in Secrets: three forms in, one License document out, and errors that help without telling."""

from __future__ import annotations

import json
import traceback
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from license_secrets import (
    DOCKER_KEY,
    LICENSE_KEY,
    SDK_KEY,
    a_secret,
    a_source,
    docker_config,
    encoded,
    license_yaml,
    sdk_config,
)
from replicated_proxy.core.licenses import parse_license
from replicated_proxy.core.objects import text_at
from replicated_proxy.sources.license_secrets import InvalidLicenseSecret, read_license_secret

PASSWORD = "planted-password-7f3a"
AUTH = {"auth": encoded(f"LICENSE_ID:{PASSWORD}")}
OTHER = {"auth": encoded("LICENSE_ID:planted-password-of-another")}


@pytest.mark.parametrize("api_version", ["kots.io/v1beta1", "kots.io/v1beta2"])
def test_license_file_is_taken_over(api_version: str) -> None:
    """A license.yaml gives a License with its apiVersion and whole spec, and the Secret's identity."""
    entitlements = {"expires_at": {"value": "2030-01-01T00:00:00Z"}, "seats": {"value": 10, "valueType": "Integer"}}
    text = license_yaml(api_version=api_version, entitlements=entitlements, signature="c2ln", customerName="Jane")

    document = read_license_secret(a_secret({LICENSE_KEY: text}), a_source())

    assert document.body == {
        "apiVersion": api_version,
        "kind": "License",
        "metadata": {
            "namespace": "app",
            "name": "credential",
            "uid": "uid-of-secret/license.yaml",
            "creationTimestamp": "2026-02-01T00:00:00Z",
            "labels": {},
            "annotations": {},
        },
        "spec": yaml.safe_load(text)["spec"],
    }
    assert (document.namespaces, document.key, document.proxy_host) == ((), "app/secrets/credential/license.yaml", "")


def test_license_written_by_hand_keeps_its_dates() -> None:
    """A date without quotes stays text, so the License ends when it says."""
    text = license_yaml() + "  entitlements:\n    expires_at:\n      value: 2030-07-27T00:00:00Z\n"

    document = read_license_secret(a_secret({LICENSE_KEY: text}), a_source())

    assert text_at(document.body, "spec", "entitlements", "expires_at", "value") == "2030-07-27T00:00:00Z"
    assert parse_license(document.body).expiry.at is not None


def test_sdk_configuration_holds_a_license() -> None:
    """The license in the Replicated SDK's config.yaml reads as the file itself would."""
    secret = a_secret({LICENSE_KEY: license_yaml(seats=1.0), SDK_KEY: sdk_config(license_yaml(seats=1.0))})

    plain = read_license_secret(secret, a_source())
    inside = read_license_secret(secret, a_source(SDK_KEY))

    assert inside.body["spec"] == plain.body["spec"]
    assert inside.body["apiVersion"] == plain.body["apiVersion"]
    assert text_at(inside.body, "metadata", "uid") == "uid-of-secret/config.yaml"


def test_only_meaningful_metadata_is_taken_over() -> None:
    """Our own labels and annotations count; kubectl's, which holds the whole Secret, and a deletion do not."""
    secret = a_secret(
        {LICENSE_KEY: license_yaml()},
        annotations={
            "proxy.kots.io/paused": "true",
            "kubectl.kubernetes.io/last-applied-configuration": f'{{"data":"{PASSWORD}"}}',
        },
        labels={"kots.io/app-slug": "my-app", "app": "mine"},
        deletionTimestamp="2026-03-01T00:00:00Z",
    )

    document = read_license_secret(secret, a_source())
    lic = parse_license(document.body)

    assert (lic.paused, lic.deleting) == (True, False)
    assert document.body["metadata"] == {
        "namespace": "app",
        "name": "credential",
        "uid": "uid-of-secret/license.yaml",
        "creationTimestamp": "2026-02-01T00:00:00Z",
        "labels": {"kots.io/app-slug": "my-app"},
        "annotations": {"proxy.kots.io/paused": "true"},
    }


def test_settings_alone_give_reach_and_host() -> None:
    """Namespaces and proxy host are the setting's, whatever the content says of them."""
    text = license_yaml(additionalNamespaces=["*"], namespaces=["*"], proxyHost="evil.example.com")
    secret = a_secret({LICENSE_KEY: text, "namespaces": '["*"]', "proxyHost": "evil.example.com"})

    plain = read_license_secret(secret, a_source())
    chosen = read_license_secret(secret, a_source(namespaces=("workers", "*"), proxy_host="proxy.acme.com"))

    assert (plain.namespaces, plain.proxy_host) == ((), "")
    assert (chosen.namespaces, chosen.proxy_host) == (("workers", "*"), "proxy.acme.com")


def test_nothing_prints_the_license_id() -> None:
    """A document that is printed does not show the credential."""
    document = read_license_secret(a_secret({LICENSE_KEY: license_yaml(licenseID=PASSWORD)}), a_source())

    assert PASSWORD not in repr(document)


DOCKER_FORMS: list[tuple[str, dict[str, Any], str, dict[str, str]]] = [
    ("KOTS's two entries", {"proxy.replicated.com": AUTH, "registry.replicated.com": AUTH}, "", {}),
    ("one entry", {"registry.replicated.com": AUTH}, "", {}),
    ("https:// as docker login writes it", {"https://proxy.replicated.com": AUTH}, "", {}),
    ("http:// and a path", {"http://proxy.replicated.com/v2/": AUTH}, "", {}),
    ("a path only", {"proxy.replicated.com/proxy/my-app/": AUTH}, "", {}),
    ("capital letters", {"Proxy.Replicated.com": AUTH}, "", {}),
    ("user name and password", {"proxy.replicated.com": {"username": "jane", "password": PASSWORD}}, "", {}),
    ("auth goes before password", {"proxy.replicated.com": AUTH | {"password": "another"}}, "", {}),
    ("auth without padding", {"proxy.replicated.com": {"auth": AUTH["auth"].rstrip("=")}}, "", {}),
    (
        "auth in lines, as base64 writes it",
        {"proxy.replicated.com": {"auth": f"{AUTH['auth'][:20]}\r\n{AUTH['auth'][20:]}\n"}},
        "",
        {},
    ),
    ("docker's zero bytes", {"proxy.replicated.com": {"auth": encoded(f"u:{PASSWORD}\0\0")}}, "", {}),
    ("a user name of anybody's", {"proxy.replicated.com": {"auth": encoded(f"a@b.example:{PASSWORD}")}}, "", {}),
    ("other hosts beside it", {"proxy.replicated.com": AUTH, "quay.io": OTHER, "": OTHER, "https:///x": {}}, "", {}),
    ("other hosts that only look like it", {"proxy.replicated.com": AUTH, "proxy.replicated.com:443": OTHER}, "", {}),
    (
        "staging",
        {"proxy.staging.replicated.com": AUTH},
        "",
        {"endpoint": "https://staging.replicated.app"},
    ),
    ("staging beside production", {"proxy.staging.replicated.com": AUTH, "proxy.replicated.com": AUTH}, "", {}),
    ("custom domain", {"proxy.acme.com": AUTH}, "proxy.acme.com", {"replicatedProxyDomain": "proxy.acme.com"}),
    (
        "custom domain beside Replicated's host",
        {"https://proxy.acme.com/v2/": AUTH, "registry.replicated.com": AUTH},
        "proxy.acme.com",
        {"replicatedProxyDomain": "proxy.acme.com"},
    ),
    (
        "custom domain without an entry of its own",
        {"proxy.replicated.com": AUTH},
        "proxy.acme.com",
        {"replicatedProxyDomain": "proxy.acme.com"},
    ),
]


@pytest.mark.parametrize(
    ("auths", "proxy_host", "more"), [form[1:] for form in DOCKER_FORMS], ids=[form[0] for form in DOCKER_FORMS]
)
def test_docker_config_gives_a_license(auths: dict[str, Any], proxy_host: str, more: dict[str, str]) -> None:
    """The password for Replicated's hosts, or the administrator's, is the license ID; other entries are nobody's."""
    secret = a_secret({DOCKER_KEY: docker_config(auths)})

    document = read_license_secret(secret, a_source(DOCKER_KEY, app_slug="my-app", proxy_host=proxy_host))

    assert document.body["apiVersion"] == "kots.io/v1beta1"
    assert document.body["kind"] == "License"
    assert document.body["spec"] == {"appSlug": "my-app", "licenseID": PASSWORD, **more}


@pytest.mark.parametrize(
    ("from_settings", "beside", "slug"),
    [("my-app", None, "my-app"), ("", "my-app", "my-app"), ("", " my-app\n", "my-app"), ("mine", "theirs", "mine")],
)
def test_docker_config_gets_its_slug_from_beside_it(from_settings: str, beside: str | None, slug: str) -> None:
    """The setting names the application, or else the Secret's key `appSlug` does."""
    data = {DOCKER_KEY: docker_config()} | ({} if beside is None else {"appSlug": beside})

    document = read_license_secret(a_secret(data), a_source(DOCKER_KEY, app_slug=from_settings))

    assert text_at(document.body, "spec", "appSlug") == slug


def docker_source(**differs: Any) -> Any:
    """Return an entry for a docker config of the application `my-app`."""
    return a_source(DOCKER_KEY, **({"app_slug": "my-app"} | differs))


NO_HOST = "no entry for proxy.replicated.com, registry.replicated.com; use the one that Replicated gave out"
PROBLEMS: list[tuple[str, str, Any, str]] = [
    ("no such key", "x", a_source("other"), "there is no such key in the Secret"),
    ("nothing", "", a_source(), "is empty"),
    ("no mapping", "- a", a_source(), "is no mapping; store"),
    ("base64 twice", encoded(license_yaml()), a_source(), "not its base64 text"),
    ("none of the forms", "a: 1", a_source(), "has neither kind, license nor auths"),
    ("another kind", license_yaml().replace("License", "Config", 1), a_source(), "is no License of kots.io/v1beta1"),
    ("another version", license_yaml(api_version="kots.io/v2"), a_source(), "or kots.io/v1beta2; store the vendor"),
    ("version of another type", license_yaml().replace("kots.io/v1beta1", "[]"), a_source(), "is no License of"),
    ("spec of another type", "apiVersion: kots.io/v1beta1\nkind: License\nspec: 1", a_source(), "spec.appSlug is mis"),
    ("no slug", license_yaml(appSlug=None), a_source(), "spec.appSlug is missing or no text"),
    ("no ID", license_yaml(licenseID=""), a_source(), "spec.licenseID is missing or no text"),
    ("ID a number", license_yaml(licenseID=12), a_source(), "spec.licenseID is missing or no text"),
    ("slug is none", license_yaml("My App"), a_source(), "its application slug is none"),
    ("another slug", license_yaml("other"), a_source(app_slug="my-app"), "is for another application than 'my-app'"),
    ("SDK without license", sdk_config(""), a_source(), "its `license` is empty or no text"),
    ("SDK's license no text", "license: {kind: License}", a_source(), "its `license` is empty or no text"),
    ("SDK's license no YAML", sdk_config("a: b: c"), a_source(), "its `license`: is no YAML (line 1, column"),
    ("SDK's license no license", sdk_config("- a"), a_source(), "its `license`: is no License of"),
    ("SDK within SDK", sdk_config(sdk_config(license_yaml())), a_source(), "its `license`: is no License of"),
    ("docker config cut off", docker_config()[:-3], docker_source(), "is no JSON (line 1, column"),
    ("auths of another type", '{"auths": []}', docker_source(), NO_HOST),
    ("foreign hosts only", docker_config({"quay.io": AUTH}), docker_source(), NO_HOST),
    ("pattern for a host", docker_config({"*.replicated.com": AUTH}), docker_source(), NO_HOST),
    (
        "custom domain that is not set",
        docker_config({"proxy.acme.com": AUTH}),
        docker_source(),
        "set proxyHost for a custom domain",
    ),
    (
        "neither custom domain nor own host",
        docker_config({"quay.io": AUTH}),
        docker_source(proxy_host="proxy.acme.com"),
        "no entry for proxy.acme.com, proxy.replicated.com, registry.replicated.com",
    ),
    ("entry of another type", '{"auths": {"proxy.replicated.com": 1}}', docker_source(), "has no password for proxy."),
    ("credential helper", docker_config({"proxy.replicated.com": {}}), docker_source(), "a credential helper or"),
    ("auth of another type", '{"auths":{"proxy.replicated.com":{"auth":1}}}', docker_source(), "has no password for"),
    (
        "auth with padding after a whole group",
        docker_config({"proxy.replicated.com": {"auth": encoded("LICENSE_ID:secret-xyz") + "="}}),
        docker_source(),
        "is not base64 of",
    ),
    ("auth no base64", docker_config({"proxy.replicated.com": {"auth": "%%%"}}), docker_source(), "is not base64 of"),
    (
        "auth without a colon",
        docker_config({"proxy.replicated.com": {"auth": encoded(PASSWORD)}}),
        docker_source(),
        "is not base64 of user:password; write it anew",
    ),
    (
        "empty password",
        docker_config({"proxy.replicated.com": {"auth": encoded("LICENSE_ID:")}}),
        docker_source(),
        "has no password for proxy.replicated.com",
    ),
    (
        "hosts that disagree",
        docker_config({"proxy.replicated.com": AUTH, "registry.replicated.com": OTHER}),
        docker_source(),
        "different passwords for proxy.replicated.com, registry.replicated.com; one Secret holds one license",
    ),
    (
        "one host that disagrees with itself",
        docker_config({"proxy.replicated.com/proxy/a/": AUTH, "proxy.replicated.com/proxy/b/": OTHER}),
        docker_source(),
        "has two entries for proxy.replicated.com with different passwords",
    ),
    ("no slug for it", docker_config(), a_source(DOCKER_KEY), "does not say which application it is for; set appSlug"),
]


@pytest.mark.parametrize(
    ("content", "source", "problem"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS]
)
def test_problem_is_named_with_a_remedy(content: str, source: Any, problem: str) -> None:
    """The error names Secret and data key, says what is wrong and what to do."""
    secret = a_secret({LICENSE_KEY: content, DOCKER_KEY: content})

    with pytest.raises(InvalidLicenseSecret) as caught:
        read_license_secret(secret, source)

    assert str(caught.value).startswith(f"Secret app/credential, key {source.key!r}: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": []}, {"data": {"license.yaml": None}}])
def test_secret_without_data_is_a_problem(data: dict[str, Any]) -> None:
    """A Secret with no data, or data of a type that no API server sends, is refused like any other."""
    with pytest.raises(InvalidLicenseSecret, match=r"Secret app/credential, key 'license\.yaml': "):
        read_license_secret({"metadata": {}, **data}, a_source())


@pytest.mark.parametrize("value", ["%%%", "eA", "\u00e9"])
def test_data_that_is_not_base64_is_a_problem(value: str) -> None:
    """What no API server would send is an error like any other."""
    with pytest.raises(InvalidLicenseSecret, match="is not base64"):
        read_license_secret({"data": {LICENSE_KEY: value}}, a_source())


@pytest.mark.parametrize("beside", [b"\xff", b"", b"My App", b"a/b"])
def test_slug_beside_a_docker_config_has_to_be_one(beside: bytes) -> None:
    """A Secret's own `appSlug` that is none is refused, and not quoted."""
    with pytest.raises(InvalidLicenseSecret, match="its application slug is none; write appSlug as the vendor"):
        read_license_secret(a_secret({DOCKER_KEY: docker_config(), "appSlug": beside}), a_source(DOCKER_KEY))


def reject(secret: dict[str, Any], source: Any) -> str:
    """Return the error as a log would show it, causes included; empty where the Secret can be read."""
    try:
        read_license_secret(secret, source)
    except InvalidLicenseSecret as error:
        return "".join(traceback.format_exception(error))
    return ""


@given(st.binary(max_size=300), st.sampled_from([LICENSE_KEY, SDK_KEY, DOCKER_KEY]))
def test_any_bytes_give_a_document_or_the_one_error(content: bytes, key: str) -> None:
    """Whatever somebody writes into a Secret, the outcome is a document or `InvalidLicenseSecret`."""
    text = reject(a_secret({key: content, "appSlug": content}), a_source(key))

    assert text == "" or "InvalidLicenseSecret: Secret app/credential, key " in text


WHOLE = [
    license_yaml(licenseID=PASSWORD).encode(),
    sdk_config(license_yaml(licenseID=PASSWORD)).encode(),
    docker_config(password=PASSWORD).encode(),
    json.dumps({"auths": {"proxy.replicated.com": {"username": "x", "password": PASSWORD}}}).encode(),
    f"{{{PASSWORD}: [".encode(),
    f"a: *{PASSWORD}".encode(),
    f"a: !{PASSWORD} x".encode(),
    f"%{PASSWORD}\n---\n".encode(),
    f'{{"{PASSWORD}": 1, "{PASSWORD}": 2}}'.encode(),
]


@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)), max_size=4),
    st.sampled_from([LICENSE_KEY, DOCKER_KEY]),
)
def test_no_error_shows_a_password(whole: bytes, edits: list[tuple[float, bytes]], key: str) -> None:
    """However a Secret's content is broken, the error never quotes it."""
    content = whole
    for place, inserted in edits:
        at = int(place * len(content))
        content = content[:at] + inserted + content[at + len(inserted) :]

    text = reject(a_secret({key: content, "appSlug": PASSWORD.upper()}), a_source(key))

    assert PASSWORD not in text
    assert PASSWORD.upper() not in text
    assert encoded(f"LICENSE_ID:{PASSWORD}") not in text
