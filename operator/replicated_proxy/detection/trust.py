"""Whose certificates a registry may show: the system's authorities and, where set, more from a file."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

# What Go's client offers, and so what every registry that containerd pulls from takes. No finite-field key exchange:
# there the server chooses how much arithmetic it costs us.
_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL"

_Stamp = tuple[int, int, int]


class InvalidCaFile(ValueError):
    """A setting's file of authorities cannot be used; names the setting, the path, what is wrong and the remedy."""


class Trust:
    """The TLS context for registries, made anew when the file changes.

    A file that is broken at the start is an error; one that breaks later leaves what was read before in force.
    """

    def __init__(self, ca_file: str) -> None:
        """Read the file.

        Raises:
            InvalidCaFile: it is missing or holds no certificate.
        """
        self._path = Path(ca_file) if ca_file else None
        self._stamp = self._read_stamp()
        self._context = _make_context(self._path)

    def context(self) -> ssl.SSLContext:
        """Return the context of the moment."""
        stamp = self._read_stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            try:
                self._context = _make_context(self._path)
            except InvalidCaFile as error:
                _log.warning("%s; the authorities that were read before stay in force", error)
        return self._context

    def _read_stamp(self) -> _Stamp | None:
        """Return what tells one state of the file from another; a mounted ConfigMap swaps the whole file."""
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ino, found.st_size)


def _make_context(path: Path | None) -> ssl.SSLContext:
    """Return a context that verifies certificates and names."""
    context = ssl.create_default_context()
    context.set_ciphers(_CIPHERS)
    if path is not None:
        try:
            context.load_verify_locations(cafile=path)
        except OSError as error:
            # An ssl.SSLError is one too: the file is there, and is none of certificates.
            reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
            raise InvalidCaFile(
                f"detection.caFile: {path} cannot be used ({reason}): mount a PEM file with the certificates of the "
                "registries' authorities there, or leave the setting empty"
            ) from None
    return context
