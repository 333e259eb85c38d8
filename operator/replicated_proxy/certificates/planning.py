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

from cryptography.exceptions import UnsupportedAlgorithm

from replicated_proxy.certificates.documents import (
    InvalidCertificate,
    ServingMaterial,
    read_authority,
    read_bundle,
    read_serving,
)
from replicated_proxy.certificates.issuing import BACKDATE, Authority, make_leaf
from replicated_proxy.certificates.verifying import split_bundle, validity, verify_leaf
from replicated_proxy.core.objects import Body

# Of an authority's or a leaf's life, when the next one comes: time for whatever keeps a renewal away.
_LEFT: Final = 1 / 3
_TRIAL_NAME: Final = "trial.invalid"
_TRIAL_LIFETIME: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What there should be.

    Attributes:
        names: the Service's names; the leaf has to be good for each.
        ca_lifetime: how long a new authority lives.
        leaf_lifetime: how long a new leaf lives, at most as long as its authority.
        propagation: how long API servers may take to learn of a bundle.
    """

    names: Sequence[str]
    ca_lifetime: timedelta
    leaf_lifetime: timedelta
    propagation: timedelta


@dataclass(frozen=True, slots=True)
class Observed:
    """What is stored.

    Attributes:
        ca_secret: the authority's Secret, or None.
        serving_secret: the serving Secret, or None.
        published: PEM in `caBundle` as read back from the webhook configuration; None when it is not the same in
            every entry of ours, not set, or the configuration does not exist.
        published_for: how long that has been seen to stand there, by a clock that nobody sets.
    """

    ca_secret: Body | None
    serving_secret: Body | None
    published: bytes | None
    published_for: timedelta = timedelta.max


@dataclass(frozen=True, slots=True)
class WriteAuthority:
    """Make an authority and store it: `authority_data(make_authority(now, ca_lifetime), predecessors)`."""

    reason: str
    predecessors: bytes = b""


@dataclass(frozen=True, slots=True)
class PublishBundle:
    """Patch `caBundle` of the webhook configuration, and read it back."""

    reason: str
    bundle: bytes


@dataclass(frozen=True, slots=True)
class WriteServing:
    """Issue a leaf and store it: `serving_data(make_leaf(authority, names, now, leaf_lifetime), bundle)`."""

    reason: str
    authority: Authority
    bundle: bytes


Step = WriteAuthority | PublishBundle | WriteServing


def plan_certificates(observed: Observed, wanted: Wanted, now: datetime) -> Step | None:
    """Return the next step, or None when there is none now."""
    authority = _usable_authority(observed.ca_secret, now)
    if isinstance(authority, str):
        return WriteAuthority(authority, b"".join(_witnesses(observed.serving_secret, wanted.names, now)))
    bundle = read_bundle(observed.ca_secret or {}, authority, now)
    if problem := _succession(authority, wanted.ca_lifetime, now):
        trusted = [*split_bundle(bundle), *_witnesses(observed.serving_secret, wanted.names, now)]
        return WriteAuthority(problem, b"".join(dict.fromkeys(trusted)))
    if observed.published != bundle:
        return PublishBundle("caBundle is not what the authority's Secret says", bundle)
    if problem := _serving_problem(observed, wanted, now):
        return WriteServing(problem, authority, bundle)
    return None


def unsettled_for(observed: Observed, wanted: Wanted) -> timedelta:
    """Return how much longer some API server may not know of the published bundle."""
    return wanted.propagation - min(observed.published_for, wanted.propagation)


def _usable_authority(secret: Body | None, now: datetime) -> Authority | str:
    """Return the stored authority, or why there is none to use."""
    if secret is None:
        return "there is no authority"
    try:
        authority = read_authority(secret)
    except InvalidCertificate as error:
        return str(error)
    if now >= authority.certificate.not_valid_after_utc:
        return "the authority has expired"
    return _sterility(authority, now) or authority


def _sterility(authority: Authority, now: datetime) -> str:
    """Say why nobody would trust what an authority signs, or nothing: not every pair in its Secret is an authority."""
    begin = max(now, authority.certificate.not_valid_before_utc)
    try:
        leaf = make_leaf(authority, [_TRIAL_NAME], begin, _TRIAL_LIFETIME)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # Its subject or key cannot be used.
        return f"the authority's Secret holds none: {type(error).__name__}"
    problem = verify_leaf(leaf.certificate_pem, authority.certificate_pem, _TRIAL_NAME, begin)
    return f"the authority's Secret holds none: {problem}" if problem else ""


def _witnesses(serving_secret: Body | None, names: Sequence[str], now: datetime) -> list[bytes]:
    """Return PEM of each authority that vouches for the leaf in use.

    An authority that is lost goes on being trusted through them until its leaf is replaced, so that its loss costs no
    review. Those that vouch for nothing in use are not carried over.
    """
    try:
        material = read_serving(serving_secret or {})
    except InvalidCertificate:
        return []
    return [each for each in split_bundle(material.bundle) if _is_trusted(material.chain, each, names, now)]


def _is_trusted(chain: bytes, bundle: bytes, names: Sequence[str], now: datetime) -> bool:
    """Tell whether the leaf is good for one of the names at least: a Service may have been renamed."""
    return any(not verify_leaf(chain, bundle, name, now) for name in names)


def _succession(authority: Authority, lifetime: timedelta, now: datetime) -> str:
    """Say why another authority has to follow one that can be read, or nothing.

    One that was made while a clock was ahead vouches for nothing until then, and that may take years.
    """
    if now < authority.certificate.not_valid_before_utc:
        return "the authority is not valid yet: the clock that it was made by was ahead, or ours is behind"
    return _replacement("the authority", authority.certificate_pem, lifetime, now)


def _serving_problem(observed: Observed, wanted: Wanted, now: datetime) -> str:
    """Say why the serving Secret has to be written, or nothing."""
    if observed.serving_secret is None:
        return "there is no serving certificate"
    try:
        material = read_serving(observed.serving_secret)
    except InvalidCertificate as error:
        return str(error)
    published = observed.published or b""
    if problem := _distrust(material, published, wanted.names, now):
        return problem
    if unsettled_for(observed, wanted) and _can_wait(material, wanted, now):
        return ""
    if material.bundle != published:
        return "the serving Secret names another bundle than the one published"
    # A new leaf is never due at once: had its authority so little time left, that would have been due before it.
    return _replacement("the serving certificate", material.chain, wanted.leaf_lifetime, now)


def _can_wait(material: ServingMaterial, wanted: Wanted, now: datetime) -> bool:
    """Tell whether the leaf is trusted by the old bundle as by the new one, and long enough for the wait."""
    stays = validity(material.chain)[1] - now > wanted.propagation
    return stays and not _distrust(material, material.bundle, wanted.names, now)


def _distrust(material: ServingMaterial, bundle: bytes, names: Sequence[str], now: datetime) -> str:
    """Say why a client that trusts the bundle would refuse the leaf for one of the names, or nothing."""
    problems = (verify_leaf(material.chain, bundle, name, now) for name in names)
    return next(filter(None, problems), "")


def _replacement(what: str, certificate: bytes, lifetime: timedelta, now: datetime) -> str:
    """Say why a certificate has to be followed by the next one, or nothing."""
    left = validity(certificate)[1] - now
    if left < lifetime * _LEFT:
        return f"{what} has less than a third of its lifetime left"
    # The allowance is for clocks that differ: two replicas take turns, and neither renews what the other just made.
    return f"{what} lives longer than it should: another lifetime is set" if left > lifetime + BACKDATE else ""
