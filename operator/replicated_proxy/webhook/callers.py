"""Whether a caller is the API server, where administrators had it show a certificate.

A certificate is asked for in the handshake and demanded for reviews alone: the controller collects verdicts from the
same port and shows a token instead. One that no authority of the file vouches for ends the handshake.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from replicated_proxy.detection.trust import InvalidCaFile
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.webhook.responses import Refused

_Stamp = tuple[int, int, int]
_REMEDY: Final = "mount a PEM file with the authority of the API server's client certificate there"


class CallerAuthorities:
    """The file of authorities that callers' certificates come from; read again when it changes."""

    def __init__(self, ca_file: str) -> None:
        """Take the path; empty asks nobody for a certificate.

        Raises:
            InvalidCaFile: the file is missing or holds no certificate.
        """
        self._path = Path(ca_file) if ca_file else None
        self._stamp = self._read_stamp()
        self.apply(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def apply(self, context: ssl.SSLContext) -> None:
        """Have a listening context ask for certificates and check those that are shown.

        Raises:
            InvalidCaFile: the file is missing or holds no certificate.
        """
        if self._path is None:
            return
        context.verify_mode = ssl.CERT_OPTIONAL
        try:
            context.load_verify_locations(cafile=self._path)
        except OSError as error:
            # An ssl.SSLError is one too: the file is there, and is none of certificates.
            reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
            message = f"webhook.clientCaFile: {self._path} cannot be used ({reason}): {_REMEDY}, or leave it empty"
            raise InvalidCaFile(message) from None

    def has_changed(self) -> bool:
        """Tell, once, that the file is another one than before."""
        stamp = self._read_stamp()
        changed = stamp != self._stamp
        self._stamp = stamp
        return changed

    def _read_stamp(self) -> _Stamp | None:
        """Return what tells one state of the file from another; a mounted ConfigMap swaps the whole file."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ino, found.st_size)


def caller_check(settings: WebhookSettings) -> Callable[[web.BaseRequest], None]:
    """Return what refuses a review by its caller; nobody is refused where no authorities are set."""
    names = frozenset(settings.client_names)

    def check(request: web.BaseRequest) -> None:
        """Refuse who shows no certificate, or one of another name."""
        transport = request.transport
        shown: Mapping[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
        if not shown:
            raise Refused("caller", 403, "reviews are taken from the API server only, by its client certificate")
        if names and names.isdisjoint(names_of(shown)):
            raise Refused("caller", 403, "this client certificate is not the API server's")

    return check if settings.client_ca_file else _let_in


def names_of(certificate: Mapping[str, Any]) -> set[str]:
    """Return the common name and the DNS names of a certificate, in the form of the `ssl` module."""
    subject = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return subject | {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}


def _let_in(_request: web.BaseRequest) -> None:
    """Refuse nobody."""
