"""The audit of dependencies, and the pure parts of the image's build."""

import _ssl
import ctypes
import json
import re
import sys
import sysconfig
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath

import pytest

from image.elf import read_elf, without_symbols
from image.ownership import RECORDS, write_records
from image.tree import Tree
from rig.cache import REPOSITORY
from rig.processes import run
from supply_chain.asking import known_flaws
from supply_chain.audit import offline_problems
from supply_chain.requirements import (
    Decisions,
    Lock,
    below_floor,
    disagreements,
    parse_lock,
    undeclared_versions,
    unused,
)

_HASH = f"--hash=sha256:{'0' * 64}"
_FLOOR = Decisions(floors=({"package": "aiohttp", "fixed": "3.14.3", "flaws": ["CVE-1"], "why": "-"},))


def _lock(*pins: str, name: str = "runtime.txt") -> Lock:
    return parse_lock(name, "\n".join(f"{pin} \\\n    {_HASH}" for pin in pins))


def test_our_locks_pass_the_audit_that_needs_nobody() -> None:
    """Every version of ours is exact, hashed, above its floor, declared and imported."""
    assert offline_problems() == []


def test_base_of_the_image_is_pinned_by_digest() -> None:
    """The Dockerfile's default base names a digest, so that no tag decides what is shipped."""
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", (REPOSITORY / "Dockerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"[a-z0-9./-]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", base)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("aiohttp==3.14.5", "runtime.txt: aiohttp has no hash"),
        (f"aiohttp>=3.14 {_HASH}", "runtime.txt: aiohttp>=3.14 is no exact version"),
        (f"--index-url=https://example.com/simple\naiohttp==3.14.5 {_HASH}", "runtime.txt: --index-url"),
        (f"aiohttp @ https://example.com/aiohttp.whl {_HASH}", "runtime.txt: aiohttp is no exact version"),
        (f"aiohttp==3.14.5 --hash=md5:{'0' * 32}", "runtime.txt: aiohttp has no hash"),
    ],
)
def test_lock_that_leaves_something_open_is_named(text: str, problem: str) -> None:
    """A range, an address, an option and a missing or weak hash are problems."""
    (found,) = parse_lock("runtime.txt", text).problems
    assert found.startswith(problem)


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (below_floor(_lock("aiohttp==3.14.2"), _FLOOR), "aiohttp 3.14.2: CVE-1 are fixed in 3.14.3"),
        (below_floor(_lock("idna==3.20"), _FLOOR), "aiohttp: has a floor and is not in runtime.txt"),
        (
            disagreements([_lock("idna==3.20"), _lock("idna==3.19", name="build.txt")]),
            "idna: 3.20 in runtime.txt, 3.19",
        ),
        (undeclared_versions(_lock("idna==3.20"), ["idna>=4"]), "idna>=4: runtime.txt has 3.20"),
        (undeclared_versions(_lock("idna==3.20"), ["rich"]), "rich: runtime.txt has none"),
        (unused(["rich>=14"], [], Decisions()), "rich: declared, imported by nothing"),
        (unused(["rich"], ["rich"], Decisions(unimported=({"package": "rich"},))), "rich: is imported now"),
        (unused([], [], Decisions(unimported=({"package": "rich"},))), "rich: is not declared"),
    ],
)
def test_audit_names_what_is_wrong(problems: list[str], expected: str) -> None:
    """Flawed versions, two versions of one package, unused packages and entries that mean nothing are named."""
    (problem,) = problems
    assert problem.startswith(expected)


def test_lock_without_faults_has_no_problems() -> None:
    """Versions at or above the floor, the same everywhere, declared and imported, are fine."""
    lock = _lock("aiohttp==3.14.3", "idna==3.20 ; python_version > '3'")
    assert lock.problems == ()
    assert set(lock.versions) == {"aiohttp", "idna"}
    assert below_floor(lock, _FLOOR) == disagreements([lock, lock]) == undeclared_versions(lock, ["idna<4"]) == []


class _Database(BaseHTTPRequestHandler):
    """Answers as the OSV service does; it knows a flaw of one version of aiohttp."""

    def do_POST(self) -> None:
        """Answer one question about one package."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        flaw = {
            "id": "GHSA-test",
            "aliases": ["CVE-0000-1"],
            "summary": "made up",
            "affected": [
                {
                    "package": {"name": "aiohttp", "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "3.14.3"}]}],
                }
            ],
        }
        bad = asked["package"]["name"] == "aiohttp" and asked["version"] == "3.14.2"
        body = json.dumps({"vulns": [flaw]} if bad else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - as the base class calls it.
        """Print nothing."""


@pytest.fixture(name="database", scope="module")
def _database() -> Iterator[str]:
    """The address of a vulnerability service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Database) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("version", "accepted", "problems"),
    [
        ("3.14.2", frozenset[str](), ("aiohttp 3.14.2: CVE-0000-1, fixed in 3.14.3",)),
        ("3.14.2", frozenset({"CVE-0000-1"}), ()),
        ("3.14.5", frozenset[str](), ()),
    ],
)
def test_known_flaw_fails_the_audit_unless_it_was_accepted(
    database: str, tmp_path: Path, version: str, accepted: frozenset[str], problems: tuple[str, ...]
) -> None:
    """A version that a vulnerability service knows a flaw of is a problem, unless a person accepted that flaw."""
    lock = tmp_path / "lock.txt"
    lock.write_text(f"aiohttp=={version} {_HASH}\n")
    answer = known_flaws([lock], accepted, database)
    assert (answer.problems, answer.asked, answer.unasked) == (problems, 1, 0)


def test_audit_says_where_nobody_answered(tmp_path: Path) -> None:
    """Silence is not taken for a clean bill: packages that nobody answered about are counted."""
    lock = tmp_path / "lock.txt"
    lock.write_text(f"aiohttp==3.14.5 {_HASH}\n")
    answer = known_flaws([lock], frozenset(), "http://127.0.0.1:1/")
    assert (answer.asked, answer.unasked) == (0, 1)
    assert answer.reason


def test_needed_libraries_are_those_that_the_loader_loads() -> None:
    """What is read from a program is what ``ldd`` of this machine says it needs."""
    path = Path(_ssl.__file__)
    elf = read_elf(path)
    assert elf is not None
    loaded = run(["ldd", str(path)])
    assert elf.needed
    assert all(name in loaded for name in elf.needed)
    interpreter = read_elf(Path(sys.executable).resolve())
    assert interpreter is not None
    assert Path(interpreter.interpreter).exists()
    assert read_elf(Path(__file__)) is None


def test_library_without_symbols_is_smaller_and_loads(tmp_path: Path) -> None:
    """What only debuggers read is cut off, and the loader does not miss it."""
    modules = Path(sysconfig.get_path("platlib"))
    original = next(modules.glob("yaml/_yaml*.so"))
    cut = tmp_path / original.name
    cut.write_bytes(without_symbols(original.read_bytes()))
    assert cut.stat().st_size < original.stat().st_size
    assert read_elf(cut) == read_elf(original)
    assert hasattr(ctypes.PyDLL(str(cut)), "PyInit__yaml")


def test_files_are_taken_with_the_links_on_the_way(tmp_path: Path) -> None:
    """A file that is reached through links is reached through the same links in the copy, and nothing else is there."""
    source = tmp_path / "source"
    (source / "usr/lib/deep").mkdir(parents=True)
    (source / "usr/lib/deep/lib.so.1").write_text("content")
    (source / "usr/lib/other").write_text("unwanted")
    (source / "usr/lib/lib.so").symlink_to("/usr/lib/deep/../deep/lib.so.1")
    (source / "lib").symlink_to("usr/lib")
    tree = Tree(source, tmp_path / "target")
    assert tree.take("/lib/lib.so") == PurePosixPath("/usr/lib/deep/lib.so.1")
    assert (tmp_path / "target/lib").readlink() == Path("usr/lib")
    assert (tmp_path / "target/usr/lib/deep/lib.so.1").read_text() == "content"
    assert not (tmp_path / "target/usr/lib/other").exists()


@pytest.mark.parametrize(("name", "pointer"), [("loop", "loop"), ("dangling", "nowhere")])
def test_link_that_leads_nowhere_is_named(tmp_path: Path, name: str, pointer: str) -> None:
    """A circle of links and a link to nothing are errors that name the file."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / name).symlink_to(pointer)
    with pytest.raises(FileNotFoundError, match=f"/({name}|{pointer})"):
        Tree(tmp_path / "source", tmp_path / "target").take(f"/{name}")


def test_packages_of_taken_files_are_recorded(tmp_path: Path) -> None:
    """The package that owns a copied file is recorded for scanners, under a merged /usr too; others are not."""
    source, database = tmp_path / "source", tmp_path / "source/var/lib/dpkg"
    (database / "info").mkdir(parents=True)
    (source / "usr/lib").mkdir(parents=True)
    (source / "lib").symlink_to("usr/lib")
    for file in ("a.so", "b.so"):
        (source / "usr/lib" / file).touch()
    status = "Package: {0}\nStatus: install ok installed\nVersion: 1\nConffiles:\n /etc/{0} 123\nArchitecture: amd64\n"
    (database / "status").write_text("\n".join(status.format(each) for each in ("liba", "libb")))
    (database / "info/liba:amd64.list").write_text("/.\n/lib\n/lib/a.so\n")
    (database / "info/libb.list").write_text("/usr\n/usr/lib/b.so\n")
    tree = Tree(source, tmp_path / "target")
    tree.take("/lib/a.so")
    assert write_records(tree) == ["liba"]
    assert tree.made(f"{RECORDS}/liba").read_text() == "Package: liba\nVersion: 1\nArchitecture: amd64\n"
