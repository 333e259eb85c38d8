"""Whether a caller is the API server, where administrators had it show a certificate.

A certificate is asked for in the handshake and demanded for reviews alone: the controller collects verdicts from the
same port and shows a token instead. One that no authority of the file vouches for ends the handshake.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from replicated_proxy.detection.trust import AuthoritiesFile
from replicated_proxy.settings import WebhookSettings
from replicated_proxy.webhook.responses import Refused

_REMEDY: Final = "mount a PEM file with the authority of the API server's client certificate there, or leave it empty"


class CallerAuthorities:
    """The file of authorities that callers' certificates come from; read again when it changes."""

    def __init__(self, ca_file: str) -> None:
        """Take the path; empty asks nobody for a certificate.

        Raises:
            InvalidCaFile: the file is missing or holds no certificate.
        """
        self._file = AuthoritiesFile(ca_file, setting="webhook.clientCaFile", remedy=_REMEDY)
        self.read_again()

    def apply(self, context: ssl.SSLContext) -> None:
        """Have a listening context ask for certificates and check those that are shown, by what was read last.

        No tickets are given for sessions: one that is resumed brings along a certificate that was checked by the
        authorities of then. Sessions that OpenSSL keeps itself (TLS 1.2) are refused by `caller_check`.
        """
        if self._file.named:
            context.verify_mode = ssl.CERT_OPTIONAL
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET
            self._file.load_good_into(context)

    def read_again(self) -> None:
        """Read the file; where it cannot be used, those before stay in force.

        Raises:
            InvalidCaFile: it is missing or holds no certificate.
        """
        self._file.load_into(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def has_changed(self) -> bool:
        """Tell, once, that the file is another one than before."""
        return self._file.has_changed()


def caller_check(settings: WebhookSettings) -> Callable[[web.BaseRequest], None]:
    """Return what refuses a review by its caller; nobody is refused where no authorities are set."""
    names = frozenset(settings.client_names)

    def check(request: web.BaseRequest) -> None:
        """Refuse who shows no certificate, one of another name, or one that was not checked in this handshake."""
        transport = request.transport
        shown: Mapping[str, Any] | None = transport.get_extra_info("peercert") if transport is not None else None
        if transport is None or not shown:
            raise Refused("caller", 403, "reviews are taken from the API server only, by its client certificate")
        if transport.get_extra_info("ssl_object").session_reused:
            raise Refused(
                "caller", 403, "this session was begun earlier: begin a new one, for the certificate to be checked"
            )
        if names and names.isdisjoint(names_of(shown)):
            raise Refused("caller", 403, "this client certificate is not the API server's")

    return check if settings.client_ca_file else _let_in


def names_of(certificate: Mapping[str, Any]) -> set[str]:
    """Return the common name and the DNS names of a certificate, in the form of the `ssl` module."""
    subject = {value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"}
    return subject | {value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"}


def _let_in(_request: web.BaseRequest) -> None:
    """Refuse nobody."""
