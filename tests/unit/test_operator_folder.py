"""A guard: a package named `operator` would hide the standard library's module of that name.

`operator/` is a source root and stays a plain folder; ruff's A005 goes silent once `src` names it.
"""

from __future__ import annotations

import operator
import sysconfig
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_operator_folder_holds_only_packages() -> None:
    """No `__init__.py` and no loose module stands in `operator/`: only the package and its caches."""
    entries = [entry for entry in (REPOSITORY / "operator").iterdir() if entry.name != "__pycache__"]
    expected = ["replicated_proxy"]

    assert expected == [entry.name for entry in entries if not entry.name.endswith(".egg-info")]


def test_imported_operator_is_the_standard_library_s() -> None:
    """What `import operator` finds lives in the standard library's folder."""
    assert Path(sysconfig.get_path("stdlib")).resolve() == Path(str(operator.__file__)).resolve().parent


def test_no_test_folder_is_a_package() -> None:
    """An `__init__.py` below `tests/` would make the folder's name shadow others, in both import modes."""
    expected: list[Path] = []

    assert expected == list((REPOSITORY / "tests").rglob("__init__.py"))


def test_no_package_folder_is_called_operator() -> None:
    """Nothing below the source roots is an importable `operator` either."""
    found = [path for root in ("hack", "operator", "tests") for path in (REPOSITORY / root).rglob("operator.py")]
    expected: list[Path] = []

    assert expected == found
