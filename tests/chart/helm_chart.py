"""The chart, as helm renders it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rig.cache import REPOSITORY
from rig.manifests import read_manifests

NAMESPACE = "operator-home"
RELEASE = "proxy"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """The chart and the helm that reads it."""

    helm: Path
    folder: Path = REPOSITORY / "charts" / "replicated-proxy-operator"

    def run(self, *arguments: str, values: Json | str | None = None) -> subprocess.CompletedProcess[str]:
        """Run helm with values on its standard input; a text is YAML as it is."""
        return subprocess.run(  # noqa: S603 - the helm of the rig, and arguments of ours.
            [str(self.helm), *arguments, "--values", "-"],
            input=values if isinstance(values, str) else json.dumps(values or {}),
            env={"HOME": "/nonexistent"},  # Nothing of the developer's own helm.
            capture_output=True,
            text=True,
            check=False,
        )

    def template(
        self, values: Json | None = None, *options: str, namespace: str = NAMESPACE, release: str = RELEASE
    ) -> str:
        """Render the chart to text, without what `helm test` runs unless other options are given."""
        arguments = ("template", release, str(self.folder), "--namespace", namespace, *(options or ("--skip-tests",)))
        done = self.run(*arguments, values=values)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, values: Json | None = None, *, namespace: str = NAMESPACE) -> str:
        """Return what helm says against values that it must refuse."""
        done = self.run("template", RELEASE, str(self.folder), "--namespace", namespace, values=values)
        assert done.returncode != 0, "helm rendered the chart"
        return done.stderr

    def objects(self, values: Json | None = None) -> Rendered:
        """Render the chart to objects."""
        return Rendered(read_manifests(self.template(values)))

    def tests(self, values: Json | None = None, *, namespace: str = NAMESPACE, release: str = RELEASE) -> Rendered:
        """Render what `helm test` runs."""
        every = self.template(values, "--include-crds", namespace=namespace, release=release)
        return Rendered([each for each in read_manifests(every) if _hook(each) == "test"])

    def values(self) -> Json:
        """Return the default values."""
        defaults: Json = yaml.safe_load((self.folder / "values.yaml").read_text(encoding="utf-8"))
        return defaults


def _hook(document: Json) -> str:
    """Return the hook that an object belongs to, or nothing."""
    return str(document["metadata"].get("annotations", {}).get("helm.sh/hook", ""))


@dataclass(frozen=True, slots=True)
class Rendered:
    """The objects of a release."""

    documents: list[Json]

    def __iter__(self) -> Iterator[Json]:
        """Give every object."""
        return iter(self.documents)

    def of_kind(self, kind: str) -> dict[str, Json]:
        """Return the objects of a kind by name."""
        return {document["metadata"]["name"]: document for document in self.documents if document["kind"] == kind}

    def only(self, kind: str) -> Json:
        """Return the one object of a kind."""
        (document,) = self.of_kind(kind).values()
        return document
