"""What a dynamic loader reads of a program or library: its machine and what else it needs.

``ldd`` runs the program that it looks at. This reads the file, so it works for other machines too.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MACHINES: Final = {"amd64": 62, "arm64": 183}
"""The numbers that ELF has for the platforms that we build for."""

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT: Final = struct.Struct("<IIQQQQQQ")
_ENTRY: Final = struct.Struct("<qQ")
_IDENTITY: Final = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_END, _NEEDED, _STRINGS, _RPATH, _RUNPATH = 0, 1, 5, 15, 29


@dataclass(frozen=True, slots=True)
class Elf:
    """One program or shared library."""

    machine: int
    interpreter: str
    """The dynamic loader that a program names; empty in libraries."""
    needed: tuple[str, ...]
    """File names of the libraries that are loaded with it."""
    run_paths: tuple[str, ...]
    """Where it wants them looked for before the usual places; ``$ORIGIN`` is its own folder."""


@dataclass(frozen=True, slots=True)
class _Segment:
    kind: int
    offset: int
    address: int
    size: int


def read_elf(path: Path) -> Elf | None:
    """Return what the loader would read, or None where the file is no 64-bit little-endian ELF file."""
    with path.open("rb") as file:
        if file.read(len(_IDENTITY)) != _IDENTITY:
            return None
    content = path.read_bytes()
    header, segments = _read_segments(content)
    entries = [entry for each in segments if each.kind == _DYNAMIC for entry in _entries(content, each)]
    strings = next((_offset_of(segments, value) for tag, value in entries if tag == _STRINGS), 0)

    def texts(*tags: int) -> tuple[str, ...]:
        return tuple(_text(content, strings + value) for tag, value in entries if tag in tags)

    interpreter = next((_text(content, each.offset) for each in segments if each.kind == _INTERPRETER), "")
    run_paths = tuple(each for listed in texts(_RPATH, _RUNPATH) for each in listed.split(":") if each)
    return Elf(header[2], interpreter, texts(_NEEDED), run_paths)


def without_symbols(content: bytes) -> bytes:
    """Return a program or library without what only debuggers read: all that follows its last segment.

    Packages come with it from the index; it is most of what some of their modules weigh. A section table would point
    behind the end of the file afterwards, so its three fields are emptied; loaders do not read them.
    """
    header, segments = _read_segments(content)
    end = max([header[5] + header[9] * header[10], *(each.offset + each.size for each in segments)])
    emptied = _HEADER.pack(*header[:6], 0, *header[7:12], 0, 0)
    return emptied + content[_HEADER.size : end]


def _read_segments(content: bytes) -> tuple[tuple[Any, ...], list[_Segment]]:
    header = _HEADER.unpack_from(content)
    return header, [_segment(content, header[5] + index * header[9]) for index in range(header[10])]


def _segment(content: bytes, position: int) -> _Segment:
    kind, _, offset, address, _, size, _, _ = _SEGMENT.unpack_from(content, position)
    return _Segment(kind, offset, address, size)


def _entries(content: bytes, dynamic: _Segment) -> list[tuple[int, int]]:
    found = []
    for position in range(dynamic.offset, dynamic.offset + dynamic.size, _ENTRY.size):
        tag, value = _ENTRY.unpack_from(content, position)
        if tag == _END:
            break
        found.append((tag, value))
    return found


def _offset_of(segments: list[_Segment], address: int) -> int:
    """Return where in the file an address of the loaded program is."""
    for each in segments:
        if each.kind == _LOAD and each.address <= address < each.address + each.size:
            return each.offset + address - each.address
    raise ValueError(f"no loaded segment holds the address {address:#x}: the file is damaged")


def _text(content: bytes, position: int) -> str:
    return content[position : content.index(b"\0", position)].decode()
