"""Asks those who know about flaws and withdrawn versions, through the clients that know how to ask."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from supply_chain.requirements import read_lock

_SERVICES: Final = ("pypi", "osv")
_SECONDS: Final = "15"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a question."""

    problems: tuple[str, ...]
    asked: int
    """Packages that somebody knew something about."""
    unasked: int
    """Packages that nobody answered about: nothing is known of them, good or bad."""
    reason: str = ""
    """Why nobody answered."""


def known_flaws(locks: Sequence[Path], accepted: frozenset[str], osv_url: str = "") -> Answer:
    """Ask the vulnerability services in turn, until one knows the packages.

    Args:
        locks: requirements files with hashes.
        accepted: identifiers of flaws that were looked at and do not reach us.
        osv_url: another address of the OSV service than its own.
    """
    answer = Answer((), 0, 0, "no service")
    for service in ("osv",) if osv_url else _SERVICES:
        answer = _ask(service, locks, accepted, osv_url)
        if answer.asked:
            break
    return answer


def _ask(service: str, locks: Sequence[Path], accepted: frozenset[str], osv_url: str) -> Answer:
    options = ["--disable-pip", "--require-hashes", "--format=json", "--progress-spinner=off", f"--timeout={_SECONDS}"]
    options += [f"--osv-url={osv_url}"] if osv_url else []
    files = [word for lock in locks for word in ("--requirement", str(lock))]
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--cache-dir", cache]
        done = subprocess.run([*command, *options, *files], capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return Answer((), 0, _count(locks), f"{service}: {_last_line(done.stderr)}")
    return _judge(service, found, accepted)


def _judge(service: str, found: Sequence[dict[str, Any]], accepted: frozenset[str]) -> Answer:
    skipped = [each["skip_reason"] for each in found if "skip_reason" in each]
    problems = tuple(
        f"{each['name']} {each['version']}: {flaw['id']}, fixed in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in found
        for flaw in each.get("vulns", ())
        if accepted.isdisjoint({flaw["id"], *flaw.get("aliases", ())})
    )
    reason = f"{service}: {skipped[0]}" if skipped else ""
    return Answer(problems, len(found) - len(skipped), len(skipped), reason)


def withdrawn_versions(lock: Path) -> Answer:
    """Ask the package index, by pip, which of the pinned versions were withdrawn (yanked)."""
    options = ["--dry-run", "--ignore-installed", "--no-deps", "--require-hashes", "--quiet", "--report=-"]
    command = [sys.executable, "-m", "pip", "install", *options, "--requirement", str(lock)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return Answer((), 0, _count([lock]), f"pip: {_last_line(done.stderr)}")
    installed = json.loads(done.stdout)["install"]
    withdrawn = [each["metadata"] for each in installed if each.get("is_yanked")]
    problems = tuple(f"{each['name']} {each['version']}: withdrawn by its authors; raise it" for each in withdrawn)
    return Answer(problems, len(installed), 0)


def _count(locks: Sequence[Path]) -> int:
    return len({package for lock in locks for package in read_lock(lock).versions})


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no output"])[-1][:200]
