"""Which hosts may be asked: addresses in every spelling, and names where nothing else is to be had."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicated_proxy.core.addresses import AddressRules, InvalidHost, is_internal_name, read_address

_FORBIDDEN = [
    ("0.0.0.0", "this host"),  # noqa: S104 - judged, not listened on.
    ("10.0.0.1", "private"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "shared by carriers"),
    ("100.100.100.200", "Alibaba's metadata"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("169.254.169.254", "metadata of most clouds"),
    ("169.254.170.2", "credentials of ECS tasks"),
    ("168.63.129.16", "Azure's host"),
    ("192.0.0.192", "Oracle's metadata"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "relays of 6to4"),
    ("198.18.0.1", "benchmarks"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "this host"),
    ("::1", "loopback"),
    ("::7f00:1", "an IPv4 address in the oldest form"),
    ("::ffff:127.0.0.1", "loopback, mapped"),
    ("::ffff:169.254.169.254", "metadata, mapped"),
    ("64:ff9b::a9fe:a9fe", "metadata, translated"),
    ("64:ff9b::7f00:1", "loopback, translated"),
    ("64:ff9b:1::808:808", "translated by the local network"),
    ("100::1", "discarded"),
    ("2001::1", "Teredo"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "loopback in 6to4"),
    ("2002:a9fe:a9fe::1", "metadata in 6to4"),
    ("3fff::1", "documentation"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "metadata of EC2"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local with a zone"),
    ("fec0::1", "site-local"),
    ("ff02::1", "multicast"),
    ("ff0e::1", "multicast, global"),
]
_PERMITTED = ["8.8.8.8", "52.216.0.1", "172.32.0.1", "2606:4700::1", "2a00:1450::1", "::ffff:8.8.8.8"]
_TRANSLATED = ["64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize(("text", "why"), _FORBIDDEN, ids=[text for text, _ in _FORBIDDEN])
def test_address_of_somebodys_own_network_is_forbidden(text: str, why: str) -> None:
    """Nothing that only a local machine or network reaches is connected to."""
    assert not AddressRules().permit(ip_address(text)), why


@pytest.mark.parametrize("text", [*_PERMITTED, *_TRANSLATED])
def test_public_address_is_permitted(text: str) -> None:
    """What anybody reaches may be asked, in whatever form."""
    assert AddressRules().permit(ip_address(text))


@pytest.mark.parametrize(
    ("allowed", "internal", "text", "expected"),
    [
        (["10.1.0.0/16"], [], "10.1.2.3", True),
        (["10.1.0.0/16"], [], "10.2.2.3", False),
        (["10.1.0.0/16"], [], "::ffff:10.1.2.3", True),
        (["10.1.0.0/16"], [], "64:ff9b::a01:203", True),
        (["fd12::/16"], [], "fd12::1", True),
        ([], ["52.0.0.0/8"], "52.216.0.1", False),
        ([], ["52.0.0.0/8"], "::ffff:52.216.0.1", False),
        ([], ["52.0.0.0/8"], "2002:34d8:1::", False),
        ([], ["2606:4700::/32"], "2606:4700::1", False),
        (["52.216.0.0/16"], ["52.0.0.0/8"], "52.216.0.1", True),
        (["0.0.0.0/0"], [], "2606:4700::1", True),
        (["0.0.0.0/0"], [], "fd00::1", False),
    ],
)
def test_administrator_allows_and_forbids_networks(
    allowed: list[str], internal: list[str], text: str, expected: bool
) -> None:
    """What is allowed is permitted whatever else holds; what is internal is forbidden although it is public."""
    assert AddressRules.parse(allowed, internal).permit(ip_address(text)) is expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0X7F.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("127.0.1", "127.0.0.1"),
        ("0177.0.0.01", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("0xa9.0xfe.0xa9.0xfe", "169.254.169.254"),
        ("169.254.43518", "169.254.169.254"),
        ("0", "0.0.0.0"),  # noqa: S104 - judged, not listened on.
        ("0x", "0.0.0.0"),  # noqa: S104 - likewise.
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[::ffff:7f00:1]", "::ffff:127.0.0.1"),
    ],
)
def test_address_is_read_in_every_spelling_of_resolvers(host: str, address: str) -> None:
    """Decimal, octal, hexadecimal, with parts left out: all of them lead somewhere."""
    assert read_address(host) == ip_address(address)


@pytest.mark.parametrize("host", ["quay.io", "localhost", "127.0.0.1.nip.io", "1e100.net", "0x7f.example", "a-1", "1a"])
def test_name_is_no_address(host: str) -> None:
    """What does not end in a number has to be looked up."""
    assert read_address(host) is None


@pytest.mark.parametrize(
    "host",
    ["1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.65536.1", "4294967296", "08.1", "quay.1", "1..2", "0xg.1", "9" * 99],
)
def test_what_ends_in_a_number_and_is_no_address_is_refused(host: str) -> None:
    """Resolvers disagree about these, so nobody is asked."""
    with pytest.raises(InvalidHost):
        read_address(host)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("registry", True),
        ("app.localhost", True),
        ("registry.default.svc", True),
        ("registry.default.svc.cluster.local", True),
        ("printer.local", True),
        ("metadata.google.internal", True),
        ("vault.corp", True),
        ("nas.lan", True),
        ("router.home.arpa", True),
        ("quay.io", False),
        ("registry-1.docker.io", False),
        ("svc.example.com", False),
        ("local.example.com", False),
        ("notcluster.locals", False),
        ("home.arpa.example.com", False),
    ],
)
def test_names_of_clusters_and_local_networks_are_known(host: str, expected: bool) -> None:
    """Behind an egress proxy the name is all there is to judge."""
    assert is_internal_name(host) is expected


@given(st.ip_addresses(v=4))
def test_no_form_of_an_address_is_permitted_that_the_address_is_not(address: IPv4Address) -> None:
    """Law: mapped, translated and tunnelled, a forbidden address stays forbidden."""
    value = int(address)
    forms = [(0xFFFF << 32) | value, (0x64FF9B << 96) | value, (0x2002 << 112) | (value << 80)]

    permitted = [AddressRules().permit(IPv6Address(form)) for form in forms]

    assert permitted == [AddressRules().permit(address)] * 3


@given(st.ip_addresses(v=4), st.sampled_from(["{:d}", "0x{:x}", "0{:o}", "{0}"]))
def test_every_spelling_is_the_same_address(address: IPv4Address, spelling: str) -> None:
    """Law: written as one number or as four, an address is read as itself."""
    text = str(address) if spelling == "{0}" else spelling.format(int(address))

    assert read_address(text) == address


@given(st.text(max_size=40))
def test_any_host_is_read_or_refused(host: str) -> None:
    """Law: no text makes anything but an address, a name or the one error."""
    try:
        found = read_address(host)
    except InvalidHost:
        return
    assert found is None or isinstance(found, IPv4Address | IPv6Address)
