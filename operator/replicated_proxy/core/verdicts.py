"""What registries said about repositories, as values that travel between replicas and outlive them.

Nobody may crowd anybody out: where there is no room for all of them, it is shared among the namespaces that asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Final

from replicated_proxy.core.askers import is_unnamed
from replicated_proxy.core.visibility import Visibility

# A verdict that is used is asked anew each hour; one that nobody asked about for so long is of no use to anybody.
_KEPT: Final = timedelta(days=7)

Statements = frozenset[tuple[str, Visibility]]
Sized = tuple["RepositoryVerdict", int]


@dataclass(frozen=True, slots=True)
class RepositoryVerdict:
    """What a registry said.

    Attributes:
        repository: host and path.
        visibility: who can pull from it.
        checked: when the registry said so.
        namespace: one of those whose Pods name it: whose share it takes; marked as in `core/askers.py`.
    """

    repository: str
    visibility: Visibility
    checked: datetime
    namespace: str


def merge_verdicts(
    known: Mapping[str, RepositoryVerdict], reports: Iterable[RepositoryVerdict], now: datetime
) -> dict[str, RepositoryVerdict]:
    """Join reports into what is known: of each repository the newest, and none that is too old to be of use.

    What is known keeps its place in the order, so that it is not what has to give way to the same from elsewhere. A
    report from the future was made by a clock that is ahead, and counts as made now.
    """
    merged = dict(known)
    for report in reports:
        said = _made_by(report, now)
        before = merged.get(report.repository)
        if before is None or said.checked > before.checked:
            merged[report.repository] = said
    return {name: verdict for name, verdict in merged.items() if now - verdict.checked < _KEPT}


def _made_by(report: RepositoryVerdict, now: datetime) -> RepositoryVerdict:
    """Return a report that is not from the future."""
    if report.checked <= now:
        return report
    return RepositoryVerdict(report.repository, report.visibility, now, report.namespace)


def statements(verdicts: Iterable[RepositoryVerdict]) -> Statements:
    """Return what verdicts say, apart from when it was said."""
    return frozenset((verdict.repository, verdict.visibility) for verdict in verdicts)


def are_outdated(written: Iterable[RepositoryVerdict], verdicts: Iterable[RepositoryVerdict]) -> bool:
    """Tell whether written verdicts would count as too old before long, though registries said the same since."""
    checked = {verdict.repository: verdict.checked for verdict in written}
    return any(each.checked - checked.get(each.repository, each.checked) > _KEPT / 2 for each in verdicts)


def share_out(sized: Sequence[Sized], budget: int) -> list[RepositoryVerdict]:
    """Choose verdicts that fit into a budget: all, or each namespace's first ones turn by turn.

    A namespace that asks about much so gets what others leave, and takes nothing from them. All that nothing but `"*"`
    covers have the turns of one, since their names may be made up; within that it is turn by turn again.
    """
    if sum(size for _, size in sized) <= budget:
        return [verdict for verdict, _ in sized]
    shares: dict[str, list[Sized]] = {}
    unnamed: dict[str, list[Sized]] = {}
    for item in sized:
        group = unnamed if is_unnamed(item[0].namespace) else shares
        group.setdefault(item[0].namespace, []).append(item)
    shares[""] = _take_turns(unnamed)
    queues = {namespace: iter(share) for namespace, share in sorted(shares.items())}
    chosen: list[RepositoryVerdict] = []
    while queues:
        for namespace in list(queues):
            verdict, size = next(queues[namespace], (None, 0))
            if verdict is None or size > budget:
                del queues[namespace]
                continue
            budget -= size
            chosen.append(verdict)
    return chosen


def _take_turns(shares: Mapping[str, Sequence[Sized]]) -> list[Sized]:
    """Put several lists into one, the first of each before the second of any."""
    rounds = zip_longest(*(share for _, share in sorted(shares.items())))
    return [item for turn in rounds for item in turn if item is not None]
