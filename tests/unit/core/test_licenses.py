"""Reading Licenses as vendor portals write them, and as anybody may write them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_license, a_license_body, ids
from replicated_proxy.core.licenses import Expiry, InvalidLicense, LicenseID, parse_license, read_expiry

NOW = datetime(2026, 1, 1, tzinfo=UTC)

# replicated.md 1.5.
EXPIRIES: list[tuple[str, dict[str, Any], bool]] = [
    ("absent", {}, False),
    ("empty", {"expires_at": {"value": "", "valueType": "String"}}, False),
    ("no value", {"expires_at": {"title": "Expiration", "valueType": "String"}}, False),
    ("null value", {"expires_at": {"value": None, "valueType": "String"}}, False),
    ("empty without a type", {"expires_at": {"value": ""}}, False),
    ("no type", {"expires_at": {"value": "2025-12-31T23:59:59Z"}}, True),
    ("empty type", {"expires_at": {"value": "2025-12-31T23:59:59Z", "valueType": ""}}, True),
    ("now", {"expires_at": {"value": "2026-01-01T00:00:00Z", "valueType": "String"}}, False),
    ("a second ago", {"expires_at": {"value": "2025-12-31T23:59:59Z", "valueType": "String"}}, True),
    ("in another zone", {"expires_at": {"value": "2026-01-01T01:00:00+02:00", "valueType": "String"}}, True),
    ("in a zone to the west", {"expires_at": {"value": "2025-12-31T20:00:00-05:00", "valueType": "String"}}, False),
    ("with a fraction", {"expires_at": {"value": "2025-12-31T23:59:59.999999999Z", "valueType": "String"}}, True),
    ("last century's test license", {"expires_at": {"value": "2019-02-06T08:00:00Z", "valueType": "String"}}, True),
    ("far away", {"expires_at": {"value": "9999-12-31T23:59:59Z", "valueType": "String"}}, False),
]


@pytest.mark.parametrize(("entitlements", "expired"), [row[1:] for row in EXPIRIES], ids=ids(EXPIRIES))
def test_expiry_is_read_as_kots_does(entitlements: dict[str, Any], expired: bool) -> None:
    """A License has expired when `expires_at` lies strictly before now; nothing there means never."""
    expiry = read_expiry(entitlements)

    assert (expired, "") == (expiry.has_passed(NOW), expiry.problem)


BAD_EXPIRIES: list[tuple[str, dict[str, Any]]] = [
    ("integer", {"value": 5, "valueType": "Integer"}),
    ("no value of another type", {"valueType": "Integer"}),
    ("null value of another type", {"value": None, "valueType": "Integer"}),
    ("empty value of another type", {"value": "", "valueType": "Integer"}),
    ("text of another type", {"value": "2025-12-31T23:59:59Z", "valueType": "Text"}),
    ("number as String", {"value": 5, "valueType": "String"}),
    ("zero", {"value": 0, "valueType": "String"}),
    ("false", {"value": False, "valueType": "String"}),
    ("list", {"value": [], "valueType": "String"}),
    ("object", {"value": {"date": "2025-12-31"}, "valueType": "String"}),
    ("type that is a list", {"value": "2025-12-31T23:59:59Z", "valueType": ["String"]}),
    ("date only", {"value": "2026-01-01", "valueType": "String"}),
    ("no zone", {"value": "2026-01-01T00:00:00", "valueType": "String"}),
    ("lower case", {"value": "2026-01-01t00:00:00z", "valueType": "String"}),
    ("space", {"value": "2026-01-01 00:00:00Z", "valueType": "String"}),
    ("no such month", {"value": "2026-13-01T00:00:00Z", "valueType": "String"}),
    ("no such hour", {"value": "2026-01-01T25:00:00Z", "valueType": "String"}),
    ("other digits", {"value": "\uff12\uff10\uff12\uff16-01-01T00:00:00Z", "valueType": "String"}),
    ("line break", {"value": "2026-01-01T00:00:00Z\n", "valueType": "String"}),
    ("words", {"value": "next year", "valueType": "String"}),
    ("before the first year", {"value": "0001-01-01T00:00:00+14:00", "valueType": "String"}),
    ("after the last year", {"value": "9999-12-31T23:59:59-05:00", "valueType": "String"}),
]


@pytest.mark.parametrize("entitlement", [row[1] for row in BAD_EXPIRIES], ids=ids(BAD_EXPIRIES))
def test_expiry_that_cannot_be_read_is_a_problem_and_no_crash(entitlement: dict[str, Any]) -> None:
    """What KOTS calls an error has no moment and a sentence that names the entitlement."""
    expiry = read_expiry({"expires_at": entitlement})
    expected = (None, False)

    assert expected == (expiry.at, expiry.has_passed(NOW))
    assert expiry.problem.startswith("entitlement expires_at")


@pytest.mark.parametrize("field", ["value", "valueType"])
def test_long_expiry_is_not_repeated_at_length(field: str) -> None:
    """Whatever somebody writes there, the problem is a sentence."""
    for long in ("x" * 40_000, ["x" * 40_000]):
        problem = read_expiry({"expires_at": {"value": "x", "valueType": "String", field: long}}).problem
        assert problem.startswith("entitlement expires_at")
        assert len(problem) < 200


def test_expiry_is_kept_in_utc() -> None:
    """The moment is the same wherever it was written."""
    expiry = read_expiry({"expires_at": {"value": "2030-07-27T02:00:00+02:00", "valueType": "String"}})

    assert Expiry(at=datetime(2030, 7, 27, tzinfo=UTC)) == expiry


DEFAULT_CHANNEL = {"channelID": "1", "isDefault": True, "replicatedProxyDomain": "channel.acme.com"}
OTHER_CHANNEL = {"channelID": "2", "isDefault": False, "replicatedProxyDomain": "other.acme.com"}
DOMAINS: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("none", {}, ()),
    ("license", {"replicatedProxyDomain": "license.acme.com"}, ("license.acme.com",)),
    ("channel", {"channels": [OTHER_CHANNEL, DEFAULT_CHANNEL]}, ("channel.acme.com",)),
    (
        "channel before license",
        {"channels": [DEFAULT_CHANNEL], "replicatedProxyDomain": "license.acme.com"},
        ("channel.acme.com", "license.acme.com"),
    ),
    ("other channel", {"channels": [OTHER_CHANNEL]}, ()),
    ("channel without domain", {"channels": [{"channelID": "1", "isDefault": True}]}, ()),
    ("empty", {"replicatedProxyDomain": ""}, ()),
]


@pytest.mark.parametrize(("spec", "expected"), [row[1:] for row in DOMAINS], ids=ids(DOMAINS))
def test_proxy_domains_are_collected_in_precedence(spec: dict[str, Any], expected: tuple[str, ...]) -> None:
    """The default channel's domain comes before the License's own."""
    lic = a_license(**spec)

    assert (expected, ()) == (lic.proxy_domains, lic.problems)


def test_domain_that_is_no_host_is_left_out_and_told() -> None:
    """A URL where a host belongs does not make the License useless."""
    lic = a_license(replicatedProxyDomain="https://license.acme.com", channels=[DEFAULT_CHANNEL])
    expected = (("channel.acme.com",), 1)

    assert expected == (lic.proxy_domains, len(lic.problems))
    assert "'https://license.acme.com'" in lic.problems[0]


ENDPOINTS = [
    ("https://replicated.app", "replicated.app"),
    ("https://updates.example.io/", "updates.example.io"),
    ("https://updates.example.io:8443/path", "updates.example.io"),
    ("protocol://user:pwd@staging.replicated.app", "staging.replicated.app"),
    ("https://staging.replicated.app?x=1", "staging.replicated.app"),
    ("<>invalidurl>>", ""),
    ("replicated.app", ""),
    ("", ""),
]


@pytest.mark.parametrize(("endpoint", "host"), ENDPOINTS, ids=ids(ENDPOINTS))
def test_endpoint_is_read_as_a_host(endpoint: str, host: str) -> None:
    """Scheme, user, port, path and query are left out; what is no URL counts as not given."""
    assert host == a_license(endpoint=endpoint).endpoint


PAUSED: list[tuple[str, dict[str, Any], bool]] = [
    ("true", {"proxy.kots.io/paused": "true"}, True),
    ("false", {"proxy.kots.io/paused": "false"}, False),
    ("empty", {"proxy.kots.io/paused": ""}, False),
    ("none", {}, False),
]


@pytest.mark.parametrize(("annotations", "paused"), [row[1:] for row in PAUSED], ids=ids(PAUSED))
def test_annotation_pauses_a_license(annotations: dict[str, Any], paused: bool) -> None:
    """Only the word `true` freezes a License."""
    assert paused == a_license(metadata={"annotations": annotations}).paused


MARKS: list[tuple[str, dict[str, Any], bool]] = [
    ("none", {}, False),
    ("marked", {"deletionTimestamp": "2026-01-02T00:00:00Z"}, True),
    ("null", {"deletionTimestamp": None}, False),
    ("number", {"deletionTimestamp": 5}, False),
]


@pytest.mark.parametrize(("metadata", "deleting"), [row[1:] for row in MARKS], ids=ids(MARKS))
def test_license_knows_that_it_is_being_deleted(metadata: dict[str, Any], deleting: bool) -> None:
    """A License that a finalizer keeps has the time of its deletion."""
    assert deleting == a_license(metadata=metadata).deleting


def test_both_versions_are_read_alike() -> None:
    """`v1beta2` differs in its signatures, which decide nothing here."""
    body = a_license_body(signature="c2lnbmF0dXJl", unknownField={"x": [1]})

    assert parse_license(body) == parse_license(body | {"apiVersion": "kots.io/v1beta2"})


INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("no spec", {}, "appSlug"),
    ("spec that is null", {"spec": None}, "appSlug"),
    ("spec that is a list", {"spec": []}, "appSlug"),
    ("no slug", {"spec": {"licenseID": "abc"}}, "appSlug"),
    ("slug that is a number", {"spec": {"appSlug": 5, "licenseID": "abc"}}, "appSlug"),
    ("slug with upper case", {"spec": {"appSlug": "My-App", "licenseID": "abc"}}, "appSlug"),
    ("slug with a slash", {"spec": {"appSlug": "my/app", "licenseID": "abc"}}, "appSlug"),
    ("slug that climbs", {"spec": {"appSlug": "..", "licenseID": "abc"}}, "appSlug"),
    ("slug with a line break", {"spec": {"appSlug": "my-app\n", "licenseID": "abc"}}, "appSlug"),
    ("no license ID", {"spec": {"appSlug": "my-app"}}, "licenseID"),
    ("empty license ID", {"spec": {"appSlug": "my-app", "licenseID": ""}}, "licenseID"),
    ("license ID beyond measure", {"spec": {"appSlug": "my-app", "licenseID": "x" * 4097}}, "licenseID"),
    ("license ID that is a number", {"spec": {"appSlug": "my-app", "licenseID": 5}}, "licenseID"),
]


@pytest.mark.parametrize(("body", "field"), [row[1:] for row in INVALID], ids=ids(INVALID))
def test_license_without_slug_or_id_is_refused(body: dict[str, Any], field: str) -> None:
    """The error names the field and where a right file comes from."""
    with pytest.raises(InvalidLicense, match=rf"spec\.{field}.*vendor portal"):
        parse_license(body)


def test_license_id_never_shows_itself() -> None:
    """Neither the License nor its ID can be printed into a log by accident."""
    lic = a_license(licenseID="s3cr3t-license")
    shown = f"{lic!r} {lic} {lic.license_id!r} {lic.license_id} {[lic.license_id]}"

    assert "s3cr3t" not in shown
    assert lic.license_id.reveal() == "s3cr3t-license"


def test_error_never_shows_the_license_id() -> None:
    """A License with a bad slug is complained about without its ID."""
    with pytest.raises(InvalidLicense) as caught:
        a_license(appSlug="My App", licenseID="s3cr3t-license")

    assert "s3cr3t" not in str(caught.value)


def test_license_ids_compare_by_what_they_hide() -> None:
    """Equal IDs are equal and hash alike; anything else is not equal."""
    one, same, other = LicenseID("abc"), LicenseID("abc"), LicenseID("abd")

    assert ({one}, True, True) == ({one, same}, one != other, one != "abc")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)
hostile_specs = st.fixed_dictionaries(
    {},
    optional={
        "appSlug": st.just("my-app") | json_values,
        "licenseID": st.just("abc") | json_values,
        "endpoint": json_values,
        "replicatedProxyDomain": json_values,
        "channels": st.lists(st.just({"isDefault": True, "replicatedProxyDomain": "x y"}) | json_values, max_size=2)
        | json_values,
        "entitlements": json_values
        | st.fixed_dictionaries(
            {
                "expires_at": st.fixed_dictionaries({}, optional={"value": json_values, "valueType": json_values})
                | json_values
            }
        ),
    },
)


@given(hostile_specs | json_values, json_values)
def test_hostile_license_is_read_or_refused(spec: object, metadata: object) -> None:
    """A field may have any JSON type: the License is read or refused, and nothing else is raised."""
    try:
        lic = parse_license({"spec": spec, "metadata": metadata})
    except InvalidLicense:
        return

    assert lic.app_slug
