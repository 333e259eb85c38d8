"""What images count as, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest

from asking import INTERNAL, MISSING, NONSENSE, PRIVATE, PUBLIC, SILENT
from detecting import IMAGE, REPOSITORY, Detection
from replicated_proxy.core.images import parse_image
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.core.verdicts import RepositoryVerdict
from replicated_proxy.core.visibility import OnError, Visibility
from simulated_clock import settle


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PUBLIC, Visibility.PUBLIC),
        (PRIVATE, Visibility.PRIVATE),
        (INTERNAL, Visibility.INTERNAL),
        (MISSING, Visibility.PRESUMED_PRIVATE),
        (SILENT, Visibility.PRESUMED_PRIVATE),
        (ProbeResult(ProbeOutcome.LIMITED), Visibility.PRESUMED_PRIVATE),
    ],
)
async def test_image_counts_as_what_its_registry_says(
    detection: Detection, answer: ProbeResult, expected: Visibility
) -> None:
    """A review waits for the registry's word; no word counts as private."""
    detection.registries.answers[REPOSITORY] = answer
    assert await detection.know() == [expected]
    assert detection.count("waits_total", result="answered") == 1
    assert detection.count("probes_total", outcome=answer.outcome.value, cause=answer.cause) == 1


@pytest.mark.parametrize("answer", [MISSING, SILENT, NONSENSE])
async def test_no_word_counts_as_the_settings_say(answer: ProbeResult) -> None:
    """With `onError: Public` an image of which nobody knows anything stays; somebody's own registry is no error."""
    detection = Detection(on_error=OnError.PUBLIC)
    detection.registries.answers = {REPOSITORY: answer, "own.example/x": INTERNAL}
    assert await detection.know(IMAGE, "own.example/x") == [Visibility.PRESUMED_PUBLIC, Visibility.INTERNAL]


async def test_assumption_is_no_question(detection: Detection) -> None:
    """What the settings say of a registry is not asked."""
    assert detection.look_up("assumed.example/a") is Visibility.PUBLIC
    assert detection.detector.settle(parse_image("assumed.example/a"), "app") is Visibility.PUBLIC
    assert detection.registries.asked == []
    assert detection.count("answers_total", answer="assumed") == 1


async def test_known_repository_is_answered_at_once_for_every_tag(detection: Detection) -> None:
    """Visibility is a property of the repository: one question does for all tags."""
    await detection.know(IMAGE)
    for image in (IMAGE, f"{REPOSITORY}:v2", f"{REPOSITORY}@sha256:{'0' * 64}"):
        assert detection.look_up(image, "other") is Visibility.PUBLIC
    assert len(detection.registries.asked) == 1
    assert detection.count("answers_total", answer="hit") == 3
    assert detection.count("answers_total", answer="miss") == 1
    assert detection.count("verdicts") == 1


@pytest.mark.parametrize(
    ("answer", "lifetime"), [(PUBLIC, 3600.0), (PRIVATE, 600.0), (INTERNAL, 600.0), (SILENT, 60.0), (MISSING, 60.0)]
)
async def test_old_word_is_used_while_it_is_asked_anew(
    detection: Detection, answer: ProbeResult, lifetime: float
) -> None:
    """A word is good for its time; after that it still answers, and one question refreshes it."""
    detection.registries.answers[REPOSITORY] = answer
    (before,) = await detection.know()
    await detection.pass_seconds(lifetime - 1)
    detection.look_up()
    await settle()
    assert len(detection.registries.asked) == 1

    await detection.pass_seconds(1)
    detection.registries.answers[REPOSITORY] = INTERNAL
    assert [detection.look_up() for _ in range(5)] == [before] * 5
    assert detection.count("answers_total", answer="stale") == 5
    await settle()
    assert len(detection.registries.asked) == 2
    assert detection.look_up() is Visibility.INTERNAL


@pytest.mark.parametrize("error", [SILENT, MISSING, NONSENSE, ProbeResult(ProbeOutcome.LIMITED)])
async def test_error_never_replaces_a_word(detection: Detection, error: ProbeResult) -> None:
    """What a registry said stays when it gives no answer later, and is asked again after the time of an error."""
    await detection.know()
    detection.registries.answers[REPOSITORY] = error
    await detection.pass_seconds(3600)
    detection.look_up()
    await settle()
    assert len(detection.registries.asked) == 2
    await detection.pass_seconds(59)
    assert detection.look_up() is Visibility.PUBLIC
    await settle()
    assert len(detection.registries.asked) == 2
    await detection.pass_seconds(1)
    assert detection.look_up() is Visibility.PUBLIC
    await settle()
    assert len(detection.registries.asked) == 3


async def test_missing_tag_says_nothing_of_other_tags(detection: Detection) -> None:
    """A 404 is remembered for that tag alone."""
    detection.registries.answers[IMAGE] = MISSING
    assert await detection.know() == [Visibility.PRESUMED_PRIVATE]
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    assert detection.look_up(f"{REPOSITORY}:v2") is None
    assert await detection.know(f"{REPOSITORY}:v2") == [Visibility.PUBLIC]
    assert detection.look_up() is Visibility.PUBLIC


async def test_tags_that_wait_for_a_missing_one_are_asked_in_turn(detection: Detection) -> None:
    """Reviews of several tags are one question: when the first tag is missing the next one is asked for."""
    detection.registries.answers[IMAGE] = MISSING
    detection.registries.hanging.add(REPOSITORY)
    reviews = [detection.review(), detection.review(f"{REPOSITORY}:v2"), detection.review(f"{REPOSITORY}:v3")]
    await settle()
    detection.registries.release(REPOSITORY)
    assert [await review for review in reviews] == [[Visibility.PUBLIC]] * 3
    assert detection.registries.asked == [IMAGE, f"{REPOSITORY}:v2"]


async def test_revision_tells_of_every_other_answer(detection: Detection) -> None:
    """It changes with a new word, another word, and a registry that is not waited for any more; not with the same."""

    async def moves(image: str, answer: ProbeResult) -> bool:
        before = detection.detector.revision
        detection.registries.answers[parse_image(image).repository] = answer
        await detection.pass_seconds(4000)
        detection.look_up(image)
        await detection.review(image)
        await settle()
        return detection.detector.revision != before

    assert await moves(IMAGE, PUBLIC)
    assert not await moves(IMAGE, PUBLIC)
    assert await moves(IMAGE, PRIVATE)
    assert await moves("ghcr.io/a/b", SILENT)
    assert await moves("gcr.io/a/b", ProbeResult(ProbeOutcome.LIMITED))


async def test_adopted_word_answers_like_an_own_one(detection: Detection) -> None:
    """What other replicas know is known, with the age that it has; the namespace that asked there holds it."""
    said = detection.clock.now() - timedelta(seconds=600)
    detection.detector.adopt(
        [
            RepositoryVerdict("quay.io/a/fresh", Visibility.PUBLIC, said, "app"),
            RepositoryVerdict("quay.io/a/old", Visibility.PRIVATE, said, "app"),
            RepositoryVerdict("assumed.example/a", Visibility.PRIVATE, said, "app"),
        ]
    )
    assert detection.look_up("quay.io/a/fresh") is Visibility.PUBLIC
    assert detection.look_up("quay.io/a/old") is Visibility.PRIVATE
    assert detection.look_up("assumed.example/a") is Visibility.PUBLIC
    await settle()
    assert detection.registries.asked == ["quay.io/a/old:latest"]


async def test_older_word_of_others_is_not_adopted(detection: Detection) -> None:
    """A replica's own word stays unless another one is newer; an error gives way to any word."""
    detection.registries.answers["quay.io/a/error"] = SILENT
    await detection.know(IMAGE, "quay.io/a/error")
    own = detection.clock.now()

    def adopt(seconds: float) -> None:
        said = own + timedelta(seconds=seconds)
        words = [RepositoryVerdict(name, Visibility.INTERNAL, said, "app") for name in (REPOSITORY, "quay.io/a/error")]
        detection.detector.adopt(words)

    for seconds in (-1, 0):
        adopt(seconds)
        assert detection.look_up() is Visibility.PUBLIC
    assert detection.look_up("quay.io/a/error") is Visibility.INTERNAL
    await detection.pass_seconds(10)
    adopt(5)
    assert detection.look_up() is Visibility.INTERNAL


async def test_words_are_reported_and_errors_are_not(detection: Detection) -> None:
    """Other replicas are told what registries said; that they said nothing is of no use to anybody."""
    detection.registries.answers["ghcr.io/a/b"] = SILENT
    before = detection.detector.reports
    await detection.know(IMAGE, "ghcr.io/a/b")
    assert detection.detector.reports != before
    (told,) = detection.detector.verdicts()
    assert told == RepositoryVerdict(REPOSITORY, Visibility.PUBLIC, detection.clock.now(), "app")
