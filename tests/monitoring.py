"""Alerts and dashboard as the chart renders them, and what their queries ask for."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from replicated_proxy.telemetry.making import Described

Json = dict[str, Any]
Known = Mapping[str, Mapping[str, frozenset[str]]]
"""Metrics by name, each with its labels and their words; no words where a label may have any."""

EVERYTHING: Final[Json] = {
    "monitoring": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    }
}
# What Prometheus, or prometheus-operator, adds to every series.
TARGET_LABELS: Final = frozenset({"namespace", "pod", "job", "instance", "service", "container", "endpoint"})
_VARIABLES: Final = {"$namespace": "operator-home", "$__rate_interval": "5m"}


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; `operator` is `=`, `!=`, `=~` or `!~`."""

    label: str
    operator: str
    value: str

    @property
    def words(self) -> list[str]:
        """Return the words that it names."""
        return self.value.split("|") if "~" in self.operator else [self.value]


@dataclass(frozen=True, slots=True)
class Selector:
    """One vector that a query selects."""

    metric: str
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """What a query asks for; `labels` are those by which it groups and joins."""

    selectors: tuple[Selector, ...]
    labels: frozenset[str]


def as_series(metric: Described) -> dict[str, dict[str, frozenset[str]]]:
    """Return a metric's labels and their words by the names that queries use."""
    labels = {label: frozenset(words) for label, words in metric.labels.items()}
    if metric.kind != "histogram":
        return {metric.name: labels}
    return {
        f"{metric.name}_bucket": {**labels, "le": frozenset()},
        f"{metric.name}_count": labels,
        f"{metric.name}_sum": labels,
    }


def rules_of(rule: Json) -> list[Json]:
    """Return the rules of a PrometheusRule."""
    return [each for group in rule["spec"]["groups"] for each in group["rules"]]


def dashboard_of(config_map: Json) -> Json:
    """Read the dashboard."""
    (text,) = config_map["data"].values()
    found: Json = json.loads(text)
    return found


def queries_of(dashboard: Json) -> list[str]:
    """Return the queries of a dashboard's panels, variables filled in as Grafana does."""
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    for variable, value in _VARIABLES.items():
        queries = [query.replace(variable, value) for query in queries]
    return queries


def read_queries(reader: Path, texts: list[str]) -> list[Query]:
    """Have queries read by Prometheus's own parser.

    Raises:
        ValueError: one is no PromQL.
    """
    done = subprocess.run([str(reader)], input=json.dumps(texts), capture_output=True, text=True, check=True)  # noqa: S603 - the rig's.
    found = json.loads(done.stdout)
    wrong = [f"{text}: {each['error']}" for text, each in zip(texts, found, strict=True) if "error" in each]
    if wrong:
        raise ValueError("\n".join(wrong))
    return [_query(each) for each in found]


def _query(found: Json) -> Query:
    """Take over what the reader says of one query."""
    selectors = (
        Selector(each["metric"], tuple(Matcher(**matcher) for matcher in each["matchers"]))
        for each in found["selectors"]
    )
    return Query(tuple(selectors), frozenset(found["labels"]))


def unknown_in(queries: Iterable[Query], known: Known) -> set[str]:
    """Return what queries ask for that does not exist: metrics, their labels, and words of labels."""
    found: set[str] = set()
    for query in queries:
        labels = set(TARGET_LABELS)
        for selector in query.selectors:
            labels |= set(known.get(selector.metric, {}))
            found.update(_unknown_of(selector, known))
        found |= {f"by ({label})" for label in query.labels - labels}
    return found


def _unknown_of(selector: Selector, known: Known) -> Iterator[str]:
    """Yield what one selector asks for in vain."""
    if selector.metric not in known:
        yield selector.metric
        return
    labels = known[selector.metric]
    for matcher in selector.matchers:
        if matcher.label in TARGET_LABELS:
            continue
        if matcher.label not in labels:
            yield f"{selector.metric}{{{matcher.label}}}"
        elif words := labels[matcher.label]:
            wrong = set(matcher.words) - words
            yield from (f"{selector.metric}{{{matcher.label}={word!r}}}" for word in sorted(wrong))


def overlapping(panels: list[Json]) -> set[tuple[int, int]]:
    """Return places of a dashboard's grid that more than one panel takes, or that are outside of it."""
    taken: set[tuple[int, int]] = set()
    twice: set[tuple[int, int]] = set()
    for panel in panels:
        grid = panel["gridPos"]
        places = {
            (x, y) for x in range(grid["x"], grid["x"] + grid["w"]) for y in range(grid["y"], grid["y"] + grid["h"])
        }
        twice |= (places & taken) | {place for place in places if place[0] >= 24}
        taken |= places
    return twice


def alerts_in(page: str) -> dict[str, str]:
    """Return the alerts that a page describes, each with its severity."""
    return dict(re.findall(r"^### (ReplicatedProxy\w+)\n\n(critical|warning|info)\.", page, re.MULTILINE))
