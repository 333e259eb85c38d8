"""The audit of our dependencies: what can be known from the repository alone, and what others know."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from rig.cache import REPOSITORY
from rig.progress import say
from supply_chain import requirements
from supply_chain.asking import Answer, known_flaws, withdrawn_versions

_FOLDER: Final = REPOSITORY / "hack/requirements"
RUNTIME_LOCK: Final = _FOLDER / "runtime.txt"
"""What goes into the image."""
_LOCKS: Final = (RUNTIME_LOCK.name, "development.txt", "build.txt")


def offline_problems(repository: Path = REPOSITORY) -> list[str]:
    """Return what is wrong with the locks of a repository; asks nobody."""
    folder = repository / "hack/requirements"
    locks = [requirements.read_lock(folder / name) for name in _LOCKS]
    decisions = requirements.read_decisions(folder / "advisories.toml")
    declared = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["dependencies"]
    imported = requirements.imported_distributions(repository / "operator")
    return [
        *(problem for lock in locks for problem in lock.problems),
        *requirements.disagreements(locks),
        *requirements.below_floor(locks[0], decisions),
        *requirements.undeclared_versions(locks[0], declared),
        *requirements.unused(declared, imported, decisions),
    ]


def run_audit(osv_url: str = "", *, insist: bool = False) -> int:
    """Carry the audit out and print what it found; 1 where something is wrong.

    Args:
        osv_url: another address of the OSV service than its own.
        insist: fail where no service answered, instead of saying so.
    """
    decisions = requirements.read_decisions(_FOLDER / "advisories.toml")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(known_flaws, [_FOLDER / name for name in _LOCKS], decisions.accepted_flaws, osv_url)
        second = pool.submit(withdrawn_versions, RUNTIME_LOCK)
        problems = offline_problems()
    flaws, withdrawn = first.result(), second.result()
    problems += [*flaws.problems, *withdrawn.problems]
    for problem in problems:
        say(f"audit: {problem}")
    unanswered = _report("known flaws", flaws) | _report("withdrawn versions", withdrawn)
    return 1 if problems or (insist and unanswered) else 0


def _report(question: str, answer: Answer) -> bool:
    """Say how far an answer goes; whether somebody knew nothing."""
    if answer.asked:
        say(f"audit: {question}: {answer.asked} packages asked about, {len(answer.problems)} found")
    if answer.unasked:
        say(f"audit: {question}: NOT KNOWN for {answer.unasked} packages, nobody answered ({answer.reason})")
    return bool(answer.unasked)
