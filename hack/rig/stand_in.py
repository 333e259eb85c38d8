"""The stand-in for Replicated's service, seen from outside: its licenses, and the requests that it answered.

The service itself is the program rig.stand_in_server. They share one small file, which the server reads again when it
changes, so that a test or the demo can revoke a license while everything runs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from rig.errors import RigError


class KnownLicense(TypedDict):
    """What the service knows about a license."""

    slug: str
    revoked: bool


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """One line of the service's log."""

    method: str
    path: str
    status: int
    slug: str
    """The application whose license was presented; ``-`` without a license."""


@dataclass(frozen=True, slots=True)
class StandIn:
    """Handle on a running stand-in."""

    licenses_file: Path
    log: Path

    def issue(self, license_id: str, slug: str) -> None:
        """Make a license known."""
        self._write({**read_licenses(self.licenses_file), license_id: {"slug": slug, "revoked": False}})

    def revoke(self, license_id: str) -> None:
        """Refuse a license from now on, as the service does when a license expires or is withdrawn."""
        self._set_revoked(license_id, revoked=True)

    def restore(self, license_id: str) -> None:
        """Accept a revoked license again."""
        self._set_revoked(license_id, revoked=False)

    def requests(self) -> list[AnsweredRequest]:
        """Return the requests that were answered so far, oldest first."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return [request for request in map(parse_log_line, lines) if request is not None]

    def _set_revoked(self, license_id: str, *, revoked: bool) -> None:
        licenses = read_licenses(self.licenses_file)
        if license_id not in licenses:
            raise RigError(f"the stand-in knows no license {license_id!r}; issue it first")
        self._write({**licenses, license_id: {"slug": licenses[license_id]["slug"], "revoked": revoked}})

    def _write(self, licenses: dict[str, KnownLicense]) -> None:
        written = self.licenses_file.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_text(json.dumps(licenses, indent=2))
        # Replaced in one step: the server never reads half a file.
        written.replace(self.licenses_file)


def read_licenses(path: Path) -> dict[str, KnownLicense]:
    """Read the licenses; no file means none."""
    if not path.exists():
        return {}
    licenses: dict[str, KnownLicense] = json.loads(path.read_text())
    return licenses


def log_line(request: AnsweredRequest) -> str:
    """Return the log line of a request."""
    return f"{request.method} {request.path} {request.status} {request.slug}"


def parse_log_line(line: str) -> AnsweredRequest | None:
    """Read a log line back; anything else in the log is no request."""
    match line.split():
        case [method, path, status, slug] if path.startswith("/") and status.isdigit():
            return AnsweredRequest(method, path, int(status), slug)
        case _:
            return None
