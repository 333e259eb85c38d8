"""What the operator wrote while the whole node run went on, that of Pods and objects included that are gone."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from emitted import without_license

_SECONDS: Final = 0.2  # A Pod's logs are there for longer than that.
_AGAIN: Final = 1.0
_KINDS: Final = ("licenses.kots.io", "applications.kots.io", "events")


class KeptLogs:
    """Keeps every log file of a namespace's Pods by a second name: what the kubelet deletes is there still."""

    def __init__(self, pods: Path, namespace: str, kept: Path) -> None:
        """Take the kubelet's folder of Pods' logs, and a folder to make on the same file system."""
        self._pods, self._pattern, self._kept = pods, f"{namespace}_*/*/*.log", kept
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._kept.mkdir()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ending.set()
        self._thread.join()

    def places(self) -> dict[str, str]:
        """Return what each container wrote, by Pod."""
        return {f"kept log {file.name}": file.read_text(errors="replace") for file in self._kept.iterdir()}

    def _keep(self) -> None:
        """Look for new files until the end."""
        while not self._ending.wait(_SECONDS):
            # A folder that goes while it is looked into ends the look; the next one finds what is left.
            with suppress(FileNotFoundError):
                self._look()

    def _look(self) -> None:
        """Keep the files that are there now."""
        for file in self._pods.glob(self._pattern):
            # Gone meanwhile, or kept already; a rotated log is another file under the same name.
            with suppress(FileNotFoundError, FileExistsError):
                os.link(file, self._kept / f"{file.parts[-3]}.{file.stat().st_ino}.log")


class KeptObjects:
    """Keeps every state that Licenses, Applications and Events ever had, by watches that begin anew when they end."""

    def __init__(self, kubectl: Sequence[str], secret_name: str, kept: Path) -> None:
        """Take kubectl with its options, the pull secrets' name, and a folder to make."""
        self._kubectl, self._secret_name, self._kept = kubectl, secret_name, kept
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(kind,), daemon=True) for kind in _KINDS]
        self._running: set[subprocess.Popen[bytes]] = set()

    def __enter__(self) -> Self:
        """Begin."""
        self._kept.mkdir()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._ending.set()
        for process in tuple(self._running):
            process.terminate()
        for thread in self._threads:
            thread.join()

    def places(self) -> dict[str, str]:
        """Return each state, by what it was of; what an object is there to hold is left out."""
        found: dict[str, str] = {}
        for file in self._kept.iterdir():
            for number, item in enumerate(_objects(file.read_text(errors="replace"))):
                metadata = item["metadata"]
                name = f"kept {file.stem} {metadata.get('namespace', '')}/{metadata['name']} {number}"
                found[name] = json.dumps(without_license(item, self._secret_name))
        return found

    def _watch(self, kind: str) -> None:
        """Watch a kind until the end: before its definition is there, and while the API server is away, in vain."""
        while not self._ending.wait(_AGAIN):
            with (self._kept / f"{kind}.json").open("ab") as file:
                command = [*self._kubectl, "get", kind, "--all-namespaces", "--watch", "--output=json"]
                process = subprocess.Popen(command, stdout=file, stderr=subprocess.DEVNULL)  # noqa: S603 - ours.
                self._running.add(process)
                if self._ending.is_set():  # Whoever ends it may have looked before this one began.
                    process.terminate()
                process.wait()
                self._running.discard(process)


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the objects that kubectl wrote one after the other; the last may have been cut off."""
    decoder, position = json.JSONDecoder(), 0
    while (position := text.find("{", position)) >= 0:
        try:
            item, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError:
            return
        yield item
