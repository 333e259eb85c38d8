"""What the types of the certificates' settings cannot say: lifetimes that leave room for a rotation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from replicated_proxy.settings.durations import show_duration
from replicated_proxy.settings.model import CertificateMode, CertificateSettings

_SHORTEST: Final = timedelta(seconds=4)  # Dates in certificates are whole seconds; a third of this is time to renew.
_LONGEST: Final = timedelta(days=36_500)  # A century: dates end in the year 9999.


def check_certificates(settings: CertificateSettings) -> Iterator[str]:
    """Return every problem; what is out of its range is told as that only."""
    lifetimes = {"caLifetime": settings.ca_lifetime, "leafLifetime": settings.leaf_lifetime}
    wrong = [key for key, lifetime in lifetimes.items() if not _SHORTEST <= lifetime <= _LONGEST]
    for key in wrong:
        yield (
            f"certificates.{key}: '{show_duration(lifetimes[key])}' is no lifetime: write {show_duration(_SHORTEST)} "
            f"to {show_duration(_LONGEST)}"
        )
    if not wrong:
        yield from _check_order(settings)


def _check_order(settings: CertificateSettings) -> Iterator[str]:
    """Check that each duration leaves what the next one needs."""
    ca, leaf = show_duration(settings.ca_lifetime), show_duration(settings.leaf_lifetime)
    if settings.leaf_lifetime > settings.ca_lifetime:
        yield (
            f"certificates.leafLifetime: '{leaf}' is more than certificates.caLifetime ({ca}): a certificate cannot "
            "outlive its authority"
        )
    elif settings.mode is CertificateMode.CERT_MANAGER and settings.leaf_lifetime > settings.ca_lifetime / 3:
        yield (
            f"certificates.leafLifetime: '{leaf}' is more than a third of certificates.caLifetime ({ca}): cert-manager "
            "does not end a certificate with its authority, so it has to be renewed while both authorities are valid"
        )
    if settings.mode is CertificateMode.SELF_MANAGED and settings.propagation_delay > settings.leaf_lifetime / 4:
        yield (
            f"certificates.propagationDelay: '{show_duration(settings.propagation_delay)}' is more than a quarter of "
            f"certificates.leafLifetime ({leaf}): the serving certificate could end while the next one has to wait"
        )
