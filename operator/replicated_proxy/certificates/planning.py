"""What is to be done about the certificate now: at most one step at a time.

Order is what keeps reviews from failing: the authority is stored before anything is signed by it, and a leaf is handed
to the webhook only when the API server's `caBundle`, read back, trusts it. Each step can be the last before a crash;
the next plan goes on from what is stored.

An authority gets its successor early. Both are published until the older one has expired, and leaves change over a
while after that: API servers of a cluster learn of a new `caBundle` one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from replicated_proxy.certificates.documents import (
    InvalidCertificate,
    ServingMaterial,
    read_authority,
    read_bundle,
    read_serving,
)
from replicated_proxy.certificates.issuing import Authority
from replicated_proxy.certificates.verifying import validity, verify_leaf
from replicated_proxy.core.objects import Body

_PROPAGATION: Final = timedelta(minutes=2)
# Of an authority's or a leaf's life; the rest is time for whatever keeps a renewal away.
_USED: Final = 2 / 3


@dataclass(frozen=True, slots=True)
class Observed:
    """What is stored.

    Attributes:
        ca_secret: the authority's Secret, or None.
        serving_secret: the serving Secret, or None.
        published: PEM in `caBundle` as read back from the webhook configuration; None when it is not the same in
            every entry, not set, or the configuration does not exist.
        published_since: since when that has been seen to stand there; None for long.
    """

    ca_secret: Body | None
    serving_secret: Body | None
    published: bytes | None
    published_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class WriteAuthority:
    """Make an authority and store it: `authority_data(make_authority(now, ca_days), predecessors)`."""

    reason: str
    predecessors: bytes = b""


@dataclass(frozen=True, slots=True)
class PublishBundle:
    """Patch `caBundle` of the webhook configuration, and read it back."""

    reason: str
    bundle: bytes


@dataclass(frozen=True, slots=True)
class WriteServing:
    """Issue a leaf and store it: `serving_data(make_leaf(authority, names, now, leaf_days), bundle)`."""

    reason: str
    authority: Authority
    bundle: bytes


Step = WriteAuthority | PublishBundle | WriteServing


def plan_certificates(observed: Observed, names: Sequence[str], now: datetime) -> Step | None:
    """Return the next step, or None when all is in order.

    Args:
        observed: what is stored.
        names: the Service's names; the leaf has to be good for each.
        now: the time.
    """
    authority = _usable_authority(observed.ca_secret, now)
    if isinstance(authority, str):
        return WriteAuthority(authority)
    bundle = read_bundle(observed.ca_secret or {}, authority, now)
    if problem := _succession(authority, now):
        return WriteAuthority(problem, bundle)
    if observed.published != bundle:
        return PublishBundle("caBundle is not what the authority's Secret says", bundle)
    settled = observed.published_since is None or now >= observed.published_since + _PROPAGATION
    if problem := _serving_problem(observed.serving_secret, _Published(bundle, settled), names, now):
        return WriteServing(problem, authority, bundle)
    return None


@dataclass(frozen=True, slots=True)
class _Published:
    """What a leaf has to fit to.

    Attributes:
        bundle: PEM in `caBundle`.
        settled: every API server has had the time to learn of the bundle.
    """

    bundle: bytes
    settled: bool


def _usable_authority(secret: Body | None, now: datetime) -> Authority | str:
    """Return the stored authority, or why there is none to use."""
    if secret is None:
        return "there is no authority yet"
    try:
        authority = read_authority(secret)
    except InvalidCertificate as error:
        return str(error)
    if now >= authority.certificate.not_valid_after_utc:
        return "the authority has expired"
    return authority


def _succession(authority: Authority, now: datetime) -> str:
    """Say why another authority has to follow one that can be read, or nothing.

    One that was made while a clock was ahead vouches for nothing until then, and that may take years.
    """
    if now < authority.certificate.not_valid_before_utc:
        return "the authority is not valid yet: the clock that it was made by was ahead, or ours is behind"
    return "the authority is due for its successor" if _is_used_up(authority.certificate_pem, now) else ""


def _serving_problem(secret: Body | None, published: _Published, names: Sequence[str], now: datetime) -> str:
    """Say why the serving Secret has to be written, or nothing."""
    if secret is None:
        return "there is no serving certificate yet"
    try:
        material = read_serving(secret)
    except InvalidCertificate as error:
        return str(error)
    if problem := _distrust(material, published.bundle, names, now):
        return problem
    if not published.settled and not _distrust(material, material.bundle, names, now):
        return ""  # Trusted by the old bundle and by the new one: whatever else is due can wait.
    if material.bundle != published.bundle:
        return "the serving Secret names another bundle than the one published"
    # A new leaf is never due at once: had its authority so little time left, that would have been due before it.
    return "the serving certificate is due for renewal" if _is_used_up(material.chain, now) else ""


def _distrust(material: ServingMaterial, bundle: bytes, names: Sequence[str], now: datetime) -> str:
    """Say why a client that trusts the bundle would refuse the leaf for one of the names, or nothing."""
    problems = (verify_leaf(material.chain, bundle, name, now) for name in names)
    return next(filter(None, problems), "")


def _is_used_up(certificate: bytes, now: datetime) -> bool:
    """Tell whether a certificate's life is so far gone that the next one has to come."""
    begin, end = validity(certificate)
    return now >= begin + (end - begin) * _USED
