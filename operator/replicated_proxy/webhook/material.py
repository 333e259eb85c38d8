"""The certificate that is served, and how it is exchanged under open connections.

`load_cert_chain` on the context in use would do for keys of one type, but OpenSSL keeps one certificate for each type
of key, and a pair that does not fit leaves the context half changed (reference/admission.md 3.3). So each certificate
gets a context of its own, and the one that listens hands every new handshake to the newest.
"""

from __future__ import annotations

import logging
import os
import ssl
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from replicated_proxy.certificates.documents import InvalidCertificate, ServingMaterial, read_serving
from replicated_proxy.certificates.verifying import validity, verify_leaf
from replicated_proxy.core.objects import Body
from replicated_proxy.detection.trust import InvalidCaFile
from replicated_proxy.telemetry.metrics import Metrics
from replicated_proxy.webhook.callers import CallerAuthorities

_log = logging.getLogger(__name__)

Clock = Callable[[], datetime]


class MaterialHolder:
    """Holds the certificate in use.

    Attributes:
        context: to listen with, from the start to the end; it has no certificate of its own.
    """

    def __init__(self, dns_name: str, clock: Clock, metrics: Metrics, callers: CallerAuthorities | None = None) -> None:
        self._dns_name = dns_name
        self._callers = callers or CallerAuthorities("")
        self._clock = clock
        self._metrics = metrics
        self._refused = ""
        self._callers_refused = ""
        self._offered: Body | None = None
        self._material: ServingMaterial | None = None
        self._current: ssl.SSLContext | None = None
        self.context = _new_context()
        self._callers.apply(self.context)
        self.context.sni_callback = self._hand_over

    def update(self, secret: Body | None) -> None:
        """Take over what the serving Secret holds now.

        What cannot be read or put on disk for a moment, and what nobody would trust while the one in use is trusted, is
        left alone: the certificate in use stays.
        """
        self._offered = secret
        try:
            self._take(_read(secret))
        except (InvalidCertificate, OSError) as error:
            if str(error) != self._refused:
                _log.warning("serving certificate not taken over, the one in use stays: %s", error)
            self._refused = str(error)
        else:
            self._refused = ""
        self._metrics.serving_refused.set(self._refused != "")

    def look_again(self) -> None:
        """Try anew what was refused: time alone may have made it good, or the one in use bad, and no event tells.

        So it is with the file of callers' authorities: whoever was taken out of it is let in until it can be read.
        """
        if self._refused:
            self.update(self._offered)
        if self._callers_refused:
            self._follow_callers()

    def _take(self, material: ServingMaterial) -> None:
        """Serve this from the next handshake on, unless it is a step back."""
        if material == self._material:
            return
        problem = self._verify(material)
        if problem and self._material is not None and not self._verify(self._material):
            raise InvalidCertificate(problem)
        self._current = self._make_context(material)
        self._material = material
        begin, end = validity(material.chain)
        self._metrics.note_certificate("serving", begin, end)
        _log.info("serving certificate taken over", extra={"not_after": end.isoformat()})

    def key(self) -> bytes | None:
        """Return the private key in use, as the Secret has it; None before there is one."""
        return self._material.key if self._material is not None else None

    def problems(self) -> list[str]:
        """Say why the API server would not trust this replica now, and what keeps a better certificate away.

        A Secret that cannot be served is no problem while the certificate in use is good: the metric tells of it.
        """
        if self._material is None:
            return [self._refused or "no serving certificate has been read yet"]
        problem = self._verify(self._material)
        return [text for text in (problem, self._refused) if text] if problem else []

    def _verify(self, material: ServingMaterial) -> str:
        """Verify as the API server will."""
        return verify_leaf(material.chain, material.bundle, self._dns_name, self._clock())

    def _make_context(self, material: ServingMaterial) -> ssl.SSLContext:
        """Make the context that handshakes are handed to: OpenSSL checks callers by its authorities."""
        context = load_context(material)
        self._callers.apply(context)
        return context

    def _follow_callers(self) -> None:
        """Take over authorities of callers that have changed; what cannot be used leaves those before in force."""
        if self._material is None:
            return
        try:
            self._callers.read_again()
            self._current = self._make_context(self._material)
        except (InvalidCaFile, InvalidCertificate, OSError) as error:
            if str(error) != self._callers_refused:
                _log.warning("%s; the authorities that were read before stay in force until then", error)
            self._callers_refused = str(error)
        else:
            self._callers_refused = ""

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> int | None:
        """Give a handshake to the newest context; OpenSSL calls this whether or not the client names a host."""
        if self._material is not None and self._callers.has_changed():
            self._follow_callers()
        if self._current is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = self._current
        return None


def _read(secret: Body | None) -> ServingMaterial:
    """Read the serving Secret.

    Raises:
        InvalidCertificate: it is not there, or cannot be served.
    """
    if secret is None:
        raise InvalidCertificate("the serving Secret does not exist")
    return read_serving(secret)


def load_context(material: ServingMaterial) -> ssl.SSLContext:
    """Make a context that serves this certificate.

    The `ssl` module reads files only: the key is on disk for a moment, readable by this user alone. In a container
    that place is an emptyDir in memory.

    Raises:
        InvalidCertificate: OpenSSL refuses it (a weak key, for instance).
        OSError: the folder for temporary files cannot be written.
    """
    context = _new_context()
    with tempfile.TemporaryDirectory(prefix="replicated-proxy-") as folder:
        path = Path(folder) / "serving.pem"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(material.chain + b"\n" + material.key)
        try:
            context.load_cert_chain(path)
        except ssl.SSLError as error:
            raise InvalidCertificate(f"OpenSSL refuses the serving certificate: {error.reason}") from None
    return context


def _new_context() -> ssl.SSLContext:
    """Make a context as the API server expects it: TLS 1.2 or newer, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
