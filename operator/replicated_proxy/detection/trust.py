"""Files of authorities that settings name, and whose certificates a registry may show: the system's and one file's."""

from __future__ import annotations

import logging
import ssl
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

# What Go's client offers, and so what every registry that containerd pulls from takes. No finite-field key exchange:
# there the server chooses how much arithmetic it costs us.
_CIPHERS: Final = "@SECLEVEL=2:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL"
_REMEDY: Final = (
    "mount a PEM file with the certificates of the registries' authorities there, or leave the setting empty"
)

_Stamp = tuple[int, int, int]


class InvalidCaFile(ValueError):
    """A setting's file of authorities cannot be used; names the setting, the path, what is wrong and the remedy."""


class AuthoritiesFile:
    """A file of authorities that a setting names; whoever uses it asks whether it is another one by now."""

    def __init__(self, path: str, *, setting: str, remedy: str) -> None:
        """Take the path, empty for no file, with the setting and the remedy for the words of errors."""
        self._path = Path(path) if path else None
        self._setting = setting
        self._remedy = remedy
        self._good = ""
        self._stamp = self._read_stamp()

    @property
    def named(self) -> bool:
        """Whether the setting names a file."""
        return self._path is not None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context trust the file's authorities too; without a file nothing changes.

        Raises:
            InvalidCaFile: the file is missing or holds no certificate.
        """
        if self._path is None:
            return
        try:
            text = self._path.read_bytes().decode("ascii", "ignore")  # Only comments hold anything else.
            context.load_verify_locations(cadata=text)
        except (OSError, ValueError) as error:
            # An ssl.SSLError is an OSError too: the file is there, and is none of certificates.
            reason = "it holds no certificates"
            if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
                reason = str(error.strerror)
            message = f"{self._setting}: {self._path} cannot be used ({reason}): {self._remedy}"
            raise InvalidCaFile(message) from None
        self._good = text

    def load_good_into(self, context: ssl.SSLContext) -> None:
        """Likewise by what was read last: the file may be broken while something else changes."""
        if self._good:
            context.load_verify_locations(cadata=self._good)

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


class Trust:
    """The TLS context for registries, made anew when the file changes.

    A file that is broken at the start is an error; one that breaks later leaves what was read before in force.
    """

    def __init__(self, ca_file: str) -> None:
        """Read the file.

        Raises:
            InvalidCaFile: it is missing or holds no certificate.
        """
        self._file = AuthoritiesFile(ca_file, setting="detection.caFile", remedy=_REMEDY)
        self._context = _make_context(self._file)

    def context(self) -> ssl.SSLContext:
        """Return the context of the moment."""
        if self._file.has_changed():
            try:
                self._context = _make_context(self._file)
            except InvalidCaFile as error:
                _log.warning("%s; the authorities that were read before stay in force", error)
        return self._context


def _make_context(file: AuthoritiesFile) -> ssl.SSLContext:
    """Return a context that verifies certificates and names."""
    context = ssl.create_default_context()
    context.set_ciphers(_CIPHERS)
    file.load_into(context)
    return context
