"""What is to be done about the certificate now: at most one step at a time.

Order is what keeps reviews from failing: the authority is stored before anything is signed by it, and a leaf is handed
to the webhook only when the API server's `caBundle`, read back, trusts it. Each step can be the last before a crash;
the next plan goes on from what is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from replicated_proxy.certificates.documents import InvalidCertificate, read_authority, read_serving
from replicated_proxy.certificates.issuing import Authority
from replicated_proxy.certificates.verifying import validity, verify_leaf
from replicated_proxy.core.objects import Body


@dataclass(frozen=True, slots=True)
class Observed:
    """What is stored.

    Attributes:
        ca_secret: the authority's Secret, or None.
        serving_secret: the serving Secret, or None.
        published: PEM in `caBundle` as read back from the webhook configuration; None when it is not the same in
            every entry, not set, or the configuration does not exist.
    """

    ca_secret: Body | None
    serving_secret: Body | None
    published: bytes | None


@dataclass(frozen=True, slots=True)
class WriteAuthority:
    """Make an authority and store it: `authority_data(make_authority(now, ca_days))`."""

    reason: str


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
    bundle = authority.certificate_pem
    if observed.published != bundle:
        return PublishBundle("caBundle is not the authority's certificate", bundle)
    if problem := _serving_problem(observed.serving_secret, bundle, names, now):
        return WriteServing(problem, authority, bundle)
    return None


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


def _serving_problem(secret: Body | None, bundle: bytes, names: Sequence[str], now: datetime) -> str:
    """Say why the serving Secret has to be written, or nothing."""
    if secret is None:
        return "there is no serving certificate yet"
    try:
        material = read_serving(secret)
    except InvalidCertificate as error:
        return str(error)
    if material.bundle != bundle:
        return "the serving Secret names another bundle than the one published"
    problems = (verify_leaf(material.chain, bundle, name, now) for name in names)
    return next(filter(None, problems), "") or _renewal_due(material.chain, now)


def _renewal_due(chain: bytes, now: datetime) -> str:
    """Say that two thirds of the leaf's life have passed; the rest is time for what keeps a renewal away."""
    begin, end = validity(chain)
    return "the serving certificate is due for renewal" if now >= begin + (end - begin) * 2 / 3 else ""
