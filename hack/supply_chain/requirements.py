"""Reads the locks and what a person decided about them, and holds one against the other. Asks nobody."""

import ast
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

_HASH: Final = re.compile(r"--hash=sha256:[0-9a-f]{64}")
_PIN: Final = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?==([^\s;]+)( *;[^-]*)?")


@dataclass(frozen=True, slots=True)
class Lock:
    """The versions that a requirements file pins."""

    name: str
    versions: Mapping[str, Version]
    problems: tuple[str, ...]
    """Lines that pin nothing, or without a hash."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What a person decided: ``hack/requirements/advisories.toml``."""

    floors: Sequence[Mapping[str, Any]] = ()
    unimported: Sequence[Mapping[str, Any]] = ()
    accepted: Sequence[Mapping[str, Any]] = ()
    """Known flaws that do not reach us: ``id``, ``package`` and ``why``."""

    @property
    def accepted_flaws(self) -> frozenset[str]:
        """Identifiers of the flaws that were looked at and accepted."""
        return frozenset(each["id"] for each in self.accepted)


def read_lock(path: Path) -> Lock:
    """Read a requirements file of exact versions with hashes."""
    return parse_lock(path.name, path.read_text())


def parse_lock(name: str, text: str) -> Lock:
    """Parse a requirements file; whatever is no exact version with a hash is a problem, options and URLs included."""
    versions, problems = {}, []
    plain = re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, plain.splitlines())):
        pin = _PIN.match(line)
        if pin is None:
            problems.append(f"{name}: {line.split()[0]} is no exact version of a package")
            continue
        if not _HASH.search(line):
            problems.append(f"{name}: {pin.group(1)} has no hash; write the lock with `make lock`")
        versions[str(canonicalize_name(pin.group(1)))] = Version(pin.group(3))
    return Lock(name, versions, tuple(problems))


def read_decisions(path: Path) -> Decisions:
    """Read what a person decided."""
    found = tomllib.loads(path.read_text())
    return Decisions(found.get("floor", ()), found.get("unimported", ()), found.get("accepted", ()))


def disagreements(locks: Iterable[Lock]) -> list[str]:
    """Name every package that two locks pin differently."""
    seen: dict[str, tuple[str, Version]] = {}
    problems = []
    for lock in locks:
        for package, version in lock.versions.items():
            where, other = seen.setdefault(package, (lock.name, version))
            if other != version:
                problems.append(f"{package}: {other} in {where}, {version} in {lock.name}; run `make lock`")
    return problems


def below_floor(lock: Lock, decisions: Decisions) -> list[str]:
    """Name every package whose pinned version has a known flaw that reaches us, and floors of nothing."""
    problems = []
    for floor in decisions.floors:
        package, fixed = floor["package"], floor["fixed"]
        version = lock.versions.get(package)
        if version is None:
            problems.append(f"{package}: has a floor and is not in {lock.name}; remove the entry from advisories.toml")
        elif version < Version(fixed):
            flaws = ", ".join(floor["flaws"])
            problems.append(f"{package} {version}: {flaws} are fixed in {fixed}; raise it and run `make lock`")
    return problems


def undeclared_versions(lock: Lock, declared: Iterable[str]) -> list[str]:
    """Name every declared dependency that the lock does not pin, or pins outside the declared range."""
    problems = []
    for requirement in map(Requirement, declared):
        version = lock.versions.get(str(canonicalize_name(requirement.name)))
        if version is None or version not in requirement.specifier:
            problems.append(f"{requirement}: {lock.name} has {version or 'none'}; run `make lock`")
    return problems


def unused(declared: Iterable[str], imported: Iterable[str], decisions: Decisions) -> list[str]:
    """Name every declared dependency that nothing imports, and reasons given for one that something does."""
    used = set(imported)
    excused = {each["package"] for each in decisions.unimported}
    names = {str(canonicalize_name(Requirement(each).name)) for each in declared}
    problems = [f"{name}: declared, imported by nothing; remove it" for name in sorted(names - used - excused)]
    problems += [f"{name}: is imported now; remove it from advisories.toml" for name in sorted(excused & used)]
    problems += [f"{name}: is not declared; remove it from advisories.toml" for name in sorted(excused - names)]
    return problems


def imported_distributions(source: Path) -> set[str]:
    """Return the distributions that the modules below a folder import."""
    known = packages_distributions()
    tops = {top for path in sorted(source.rglob("*.py")) for top in _imports(ast.parse(path.read_text()))}
    return {str(canonicalize_name(each)) for top in tops for each in known.get(top, ())}


def _imports(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
