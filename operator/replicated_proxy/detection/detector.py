"""Who knows the visibility of images, and has registries asked about the others.

What is known is answered at once. What is not is asked for one time, however many Pods name it; a review waits for that
no longer than the deadline, counted from when the question was asked first, and not at all for a registry that gave no
answer lately. An answer that is older than its time is used while it is asked anew, and no error takes its place.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final, Protocol

from replicated_proxy.clock import Clock, wait_for
from replicated_proxy.core.askers import is_unnamed
from replicated_proxy.core.assumptions import parse_assumptions
from replicated_proxy.core.images import ImageReference, InvalidImageReference, parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.detection.assuming import Assumed
from replicated_proxy.detection.pace import Pace
from replicated_proxy.detection.questions import Limits, Question, Questions
from replicated_proxy.detection.standing import Ration, Standing
from replicated_proxy.detection.verdict_cache import Entry, VerdictCache
from replicated_proxy.detection.waiting import WaitingRoom
from replicated_proxy.settings.detecting import DetectionSettings
from replicated_proxy.telemetry.metrics import DETECTION_ANSWERS, Metrics

_log = logging.getLogger(__name__)
_MOST_LOG_LINES: Final = 20
_LONGEST_REST: Final = 6 * 3600.0  # Docker Hub counts by six hours; whoever asks for more is asked again all the same.
_VISIBILITIES: Final = {
    ProbeOutcome.PUBLIC: Visibility.PUBLIC,
    ProbeOutcome.PRIVATE: Visibility.PRIVATE,
    ProbeOutcome.INTERNAL: Visibility.INTERNAL,
}
# What says nothing of a registry's other repositories: an answer was there.
_OF_REPOSITORY: Final = frozenset({"answer", "redirect"})


class Registries(Protocol):
    """Whoever asks registries."""

    async def probe(self, reference: ImageReference) -> ProbeResult:
        """Ask whether an image can be pulled without a password."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


class RegistryDetector:
    """Keeps what registries said, and has them asked.

    Attributes:
        revision: another number whenever `look_up` may answer something else than before, time aside.
        reports: another number whenever `verdicts` may say something else than before.
    """

    def __init__(
        self,
        settings: DetectionSettings,
        registries: Registries,
        clock: Clock,
        metrics: Metrics,
        limits: Limits | None = None,
    ) -> None:
        self._settings = settings
        self._registries = registries
        self._clock = clock
        self._metrics = metrics
        self._assumed = Assumed(parse_assumptions(settings.assume))
        self._unanswered = settings.on_error.presumed
        self._lifetimes = {
            Visibility.PUBLIC: settings.public_seconds,
            Visibility.PRIVATE: settings.private_seconds,
            Visibility.INTERNAL: settings.private_seconds,
            None: settings.error_seconds,
        }
        self._cache = VerdictCache(settings.most_verdicts, self._change)
        self._standing = Standing(clock.monotonic)
        self._log_lines = Ration(_MOST_LOG_LINES, clock.monotonic)
        self._questions = Questions(self._ask, clock.monotonic, limits)
        self._pace = Pace(settings.questions_per_second, clock.monotonic)
        self._waiting = WaitingRoom(metrics.detection_waiting)
        self._answers = {word: metrics.detection_answers.labels(word) for word in DETECTION_ANSWERS}
        metrics.detection_verdicts.set_function(lambda: len(self._cache))
        self.revision = 0
        self.reports = 0

    def look_up(self, reference: ImageReference, namespace: str) -> Visibility | None:
        """Return what is known, or None where a registry has to be asked and the review may wait for it."""
        entry = self._cache.get(reference.repository, namespace)
        if entry is None:
            assumed = self._assumed.of(reference)
            if assumed is not None:
                self._answers["assumed"].inc()
                return assumed
            # Of a repository that nobody knows, what came of this very tag.
            entry = self._cache.get(reference.docker_ref, namespace)
        if entry is None:
            return self._look_up_unknown(reference, namespace)
        if self._clock.monotonic() < entry.fresh_until:
            self._answers["hit"].inc()
        else:
            self._answers["stale"].inc()
            self._question(reference, namespace, urgent=False)
        return entry.visibility or self._unanswered

    def _look_up_unknown(self, reference: ImageReference, namespace: str) -> Visibility | None:
        """Decide whether a review may wait for what nobody knows."""
        if self._standing.resting.holds(reference.domain):
            self._answers["limited"].inc()
            return self._unanswered
        self._answers["miss"].inc()
        if not self._is_worth_waiting(reference):
            self._question(reference, namespace, urgent=False)
            return self._unanswered
        return None

    def settle(self, reference: ImageReference, namespace: str) -> Visibility:
        """Return what an image counts as now, known or not."""
        entry = self._cache.get(reference.repository, namespace)
        if entry is None:
            assumed = self._assumed.of(reference)
            return self._unanswered if assumed is None else assumed
        return entry.visibility or self._unanswered

    async def find_out(self, references: Sequence[ImageReference], namespace: str, seconds: float) -> None:
        """Ask about images that `look_up` knew nothing of, until all are known or the time is over; never raises."""
        asked = [self._question(reference, namespace, urgent=True) for reference in references]
        questions = dict.fromkeys(question for question in asked if question is not None)
        if not questions:
            return
        end = self._clock.monotonic() + seconds
        with self._waiting.enter(namespace) as admitted:
            for question in questions if admitted else ():
                left = min(question.begun + self._settings.deadline, end) - self._clock.monotonic()
                if left > 0 and not question.done.is_set():
                    await wait_for(self._clock, question.done, left)
        in_time = all(question.done.is_set() for question in questions)
        self._metrics.detection_waits.labels("answered" if in_time else "deadline" if admitted else "crowded").inc()

    def adopt(self, verdicts: Iterable[RepositoryVerdict]) -> None:
        """Take over what other replicas know, where it is newer than what is known here."""
        now, monotonic = self._clock.now(), self._clock.monotonic()
        for verdict in verdicts:
            known = self._cache.peek(verdict.repository)
            if known is not None and known.visibility is not None and known.checked >= verdict.checked:
                continue
            reference = _read(verdict.repository)
            if reference is None or self._assumed.of(reference) is not None:
                continue
            age = max(timedelta(), now - verdict.checked).total_seconds()
            fresh = self._lifetimes[verdict.visibility] - age
            entry = Entry(verdict.repository, reference.domain, verdict.visibility, monotonic + fresh, verdict.checked)
            self._put(entry, verdict.namespace)

    def verdicts(self) -> list[RepositoryVerdict]:
        """Return what registries said, for other replicas."""
        return [
            RepositoryVerdict(entry.key, entry.visibility, entry.checked, min(entry.holders, key=is_unnamed))
            for entry in self._cache
            if entry.visibility is not None
        ]

    async def close(self) -> None:
        """Give up what is on its way."""
        await self._questions.close()

    def _change(self) -> None:
        """Note that something else is known than before."""
        self.revision += 1
        self.reports += 1

    def _put(self, entry: Entry, namespace: str) -> None:
        """Remember what is known now."""
        self._cache.put(entry, namespace)
        self.reports += 1

    def _is_worth_waiting(self, reference: ImageReference) -> bool:
        """Tell whether an answer is to be expected before the deadline."""
        latest = self._clock.monotonic() - self._settings.deadline
        question = self._questions.find(reference.repository)
        if self._standing.is_silent(reference.domain) or self._settings.deadline <= 0:
            return False
        if question is not None and question.begun <= latest:
            return False
        begun = [each.started for each in self._questions.running_at(reference.domain) if each.started is not None]
        return all(each > latest or self._standing.has_answered(reference.domain, each) for each in begun)

    def _question(self, reference: ImageReference, namespace: str, *, urgent: bool) -> Question | None:
        """Have a registry asked, or join whoever had it asked already; None where it is not asked now."""
        if self._standing.resting.holds(reference.domain):
            return None
        question = self._questions.find(reference.repository)
        if question is not None:
            self._questions.join(question, reference, namespace, urgent=urgent)
            return question
        if not self._questions.has_room(namespace):
            self._metrics.detection_probes.labels("not-asked", "").inc()
            return None
        if not self._keeps_pace(namespace):
            return None
        begun = self._clock.monotonic()
        question = Question(reference.repository, reference.domain, namespace, urgent, begun)
        question.add(reference)
        self._questions.submit(question)
        return question

    def _keeps_pace(self, namespace: str) -> bool:
        """Tell whether one more may be asked now, and count it as asked or as held back."""
        limit = self._pace.take(namespace)
        if limit:
            self._metrics.detection_probes.labels("held-back", limit).inc()
        return not limit

    async def _ask(self, question: Question) -> None:
        """Ask a registry, tag by tag while it knows none of them."""
        asked: set[str] = set()
        while pending := [name for name in question.references if name not in asked]:
            if self._standing.resting.holds(question.host) or (asked and not self._keeps_pace(question.namespace)):
                return
            reference = question.references[pending[0]]
            asked.add(pending[0])
            begin = self._clock.monotonic()
            result = await self._registries.probe(reference)
            self._metrics.detection_probes.labels(result.outcome.value, result.cause).inc()
            self._metrics.detection_probe_seconds.observe(self._clock.monotonic() - begin)
            self._judge_host(question.host, result, begin)
            self._conclude(question, reference, result)
            if result.outcome is not ProbeOutcome.MISSING:
                return

    def _judge_host(self, host: str, result: ProbeResult, begin: float) -> None:
        """Note how a registry stands; slow counts as silent, since no review can wait for it."""
        pause, slow = self._settings.error_seconds, self._clock.monotonic() - begin >= self._settings.deadline
        if result.outcome is ProbeOutcome.LIMITED:
            self._standing.resting.note(host, min(result.retry_after or pause, _LONGEST_REST))
            self.revision += 1
            self._tell("registry is asked too much, it is left alone for a while", host, "rate-limited")
        elif slow or (result.outcome is ProbeOutcome.FAILED and result.cause not in _OF_REPOSITORY):
            known = self._standing.is_silent(host)
            noted = self._standing.note_silence(host, begin, pause)
            self.revision += noted
            if noted and not known:
                self._tell("registry gives no answer in time, its unknown images are presumed", host, result.cause)
        elif result.outcome is not ProbeOutcome.FAILED:
            self._standing.note_answer(host)

    def _tell(self, what: str, host: str, cause: str) -> None:
        """Log how a registry stands; metrics name no host, since whoever creates Pods chooses it."""
        if self._log_lines.take():
            _log.warning(what, extra={"registry": host[:253], "cause": cause or "slow"})

    def _conclude(self, question: Question, reference: ImageReference, result: ProbeResult) -> None:
        """Remember what came of it."""
        visibility, now = _VISIBILITIES.get(result.outcome), self._clock.monotonic()
        known = self._cache.peek(question.repository)
        if visibility is None and known is not None:
            # An error never takes a verdict's place; it is asked again later.
            known.fresh_until = now + self._settings.error_seconds
            return
        if result.outcome is ProbeOutcome.LIMITED:
            return
        missing = result.outcome is ProbeOutcome.MISSING
        key = reference.docker_ref if missing else question.repository
        fresh = now + self._lifetimes[visibility]
        self._put(Entry(key, question.host, visibility, fresh, self._clock.now()), question.namespace)


def _read(repository: str) -> ImageReference | None:
    """Parse a repository's name."""
    try:
        return parse_image(repository)
    except InvalidImageReference:
        return None
