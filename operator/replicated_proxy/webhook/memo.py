"""Answers that were given a moment ago, for reviews that ask the same.

Pods come in groups: a Deployment's differ in names that no decision looks at. Whoever reaches the port chooses what is
asked, so what is kept is bounded in number and in bytes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from prometheus_client import Counter

from replicated_proxy.core.admission import MARKS, NODES_GROUP
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.webhook.reviews import ReceivedReview

# Verdicts of registries grow old, and are asked anew because they are looked at: they must be, now and then.
_SECONDS: Final = 5.0
# Larger ones are rare, and may come so close to the limit of annotations that those count which decide nothing else.
LARGEST_BODY: Final = 32 * 1024
_MOST_ANSWERS: Final = 1024
_MOST_BYTES: Final = 8 * 1024 * 1024
_WIDEST: Final = 4  # Bytes that Python takes for a character, at most: a key takes no more than this times its JSON.

_encode: Final = msgspec.json.Encoder().encode


@dataclass(slots=True)
class RememberedAnswer:
    """An answer, without the `uid` of the review.

    Attributes:
        tail: the encoded answer from behind the `uid`.
        counters: what is counted when it is given, and by how much.
        until: when it is too old.
        size: how much it takes, roughly, in bytes.
    """

    tail: bytes
    counters: tuple[tuple[Counter, int], ...]
    until: float
    size: int


class AnswerMemo:
    """Remembers answers as long as what decided them is unchanged."""

    def __init__(self) -> None:
        self._answers: dict[Hashable, RememberedAnswer] = {}
        self._size = 0
        self._table: RoutingTable | None = None
        self._revision = 0

    def recall(self, key: Hashable, now: float) -> RememberedAnswer | None:
        """Return the answer to an equal question, unless it is too old."""
        found = self._answers.get(key)
        return found if found is not None and now < found.until else None

    def hold_to(self, table: RoutingTable, revision: int) -> None:
        """Forget everything that another table, or other knowledge of registries, decided."""
        if table is not self._table or revision != self._revision:
            self._answers.clear()
            self._size = 0
            self._table, self._revision = table, revision

    def remember(self, key: Hashable, tail: bytes, counters: Mapping[Counter, int], now: float) -> None:
        """Keep an answer; the oldest make room."""
        self._forget(key)
        size = _WIDEST * len(_encode(key)) + len(tail)
        while self._answers and (len(self._answers) >= _MOST_ANSWERS or self._size + size > _MOST_BYTES):
            self._forget(next(iter(self._answers)))
        self._answers[key] = RememberedAnswer(tail, tuple(counters.items()), now + _SECONDS, size)
        self._size += size

    def _forget(self, key: Hashable) -> None:
        """Drop one answer, if it is there."""
        dropped = self._answers.pop(key, None)
        if dropped is not None:
            self._size -= dropped.size


def key_of(received: ReceivedReview, marks: frozenset[str] = MARKS) -> Hashable:
    """Return all that the answer to a small review depends on, or None for one that is none of ours.

    Equal keys are equal questions. Names of Pods and of volumes without an image are left out, and so are labels and
    annotations that decide nothing, which are all but `marks`: in those the Pods of one owner differ.
    """
    request = received.request
    if request is None or request.object is None:
        return None
    metadata, spec = request.object.metadata, request.object.spec
    if metadata is None or spec is None:
        return None
    user, volumes = request.userInfo, spec.volumes
    return (
        request.namespace,
        request.operation,
        received.dry_run,
        user is not None and user.groups is not None and NODES_GROUP in user.groups,
        spec.containers,
        spec.initContainers,
        spec.ephemeralContainers,
        spec.imagePullSecrets,
        volumes is not None and tuple([pair for pair in enumerate(volumes) if pair[1].image is not None]),
        metadata.ownerReferences,
        _marks(metadata.labels, marks),
        _marks(metadata.annotations, marks),
        request.oldObject,
    )


def _marks(texts: Mapping[str, str] | None, marks: frozenset[str]) -> Hashable:
    """Return what a decision reads of labels or annotations, and whether there are any."""
    if texts is None or marks.isdisjoint(texts):
        return texts is None
    return tuple([(name, texts[name]) for name in marks if name in texts])
