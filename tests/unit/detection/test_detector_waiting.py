"""How long reviews wait for registries, and which registries are left alone."""

from __future__ import annotations

import pytest

from asking import NONSENSE, SILENT
from detecting import REPOSITORY, Detection
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.core.visibility import Visibility
from simulated_clock import settle


async def test_many_pods_are_one_question(detection: Detection) -> None:
    """However many reviews wait for an image, from whichever namespaces, it is asked for once."""
    detection.registries.hanging.add(REPOSITORY)
    reviews = [detection.review(namespace=f"n{number}") for number in range(20)]
    await settle()
    assert detection.count("waiting") == 20
    detection.registries.release(REPOSITORY)
    assert [await review for review in reviews] == [[Visibility.PUBLIC]] * 20
    assert len(detection.registries.asked) == 1
    assert detection.count("waiting") == 0


@pytest.mark.parametrize(("seconds", "longest"), [(2.5, 1.0), (0.4, 0.4)])
async def test_review_waits_no_longer_than_the_deadline(detection: Detection, seconds: float, longest: float) -> None:
    """A review is over at the deadline, or sooner where its own time is shorter; the question goes on."""
    detection.registries.hanging.add(REPOSITORY)
    review = detection.review(seconds=seconds)
    await detection.pass_seconds(longest * 0.9)
    assert not review.done()
    await detection.pass_seconds(longest * 0.1)
    assert review.done()
    assert await review == [Visibility.PRESUMED_PRIVATE]
    assert detection.count("waits_total", result="deadline") == 1
    detection.registries.release(REPOSITORY)
    await settle()
    assert detection.look_up() is Visibility.PUBLIC
    assert len(detection.registries.asked) == 1


async def test_waiting_counts_from_when_the_question_was_asked(detection: Detection) -> None:
    """A second review waits for what is left of the deadline, and a third one that comes after it not at all."""
    detection.registries.hanging.add(REPOSITORY)
    detection.review()
    await detection.pass_seconds(0.7)
    second = detection.review()
    await detection.pass_seconds(0.3)
    assert second.done()
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    assert len(detection.registries.asked) == 1


async def test_hanging_registry_costs_the_deadline_once(detection: Detection) -> None:
    """While a registry hangs, and after it gave no answer, reviews of its other images do not wait."""
    detection.registries.hanging.add("quay.io")
    first = detection.review()
    await detection.pass_seconds(1.0)
    assert first.done()
    assert detection.look_up("quay.io/other/app") is Visibility.PRESUMED_PRIVATE
    assert detection.look_up("ghcr.io/other/app") is None

    detection.registries.answers = {REPOSITORY: SILENT, "quay.io/other/app": SILENT}
    detection.registries.release("quay.io")
    await settle()
    assert detection.look_up("quay.io/third/app") is Visibility.PRESUMED_PRIVATE
    await settle()
    assert detection.registries.asked[-1] == "quay.io/third/app:latest"


async def test_slow_registry_is_as_good_as_silent(detection: Detection) -> None:
    """An answer that comes after the deadline counts for its image, and no other review waits for that registry."""
    detection.registries.hanging.add(REPOSITORY)
    detection.review()
    await detection.pass_seconds(2.0)
    detection.registries.release(REPOSITORY)
    await settle()
    assert detection.look_up() is Visibility.PUBLIC
    assert detection.look_up("quay.io/other/app") is Visibility.PRESUMED_PRIVATE


async def test_registry_that_answers_again_is_waited_for_again(detection: Detection) -> None:
    """After an answer in time reviews wait for the registry's other images as before."""
    detection.registries.answers = {REPOSITORY: SILENT}
    await detection.know()
    assert detection.look_up("quay.io/other/app") is Visibility.PRESUMED_PRIVATE
    await settle()
    assert detection.look_up("quay.io/other/app") is Visibility.PUBLIC
    assert detection.look_up("quay.io/third/app") is None


async def test_silence_about_one_repository_says_nothing_of_the_others(detection: Detection) -> None:
    """While a registry answers other questions, one that hangs or times out keeps nobody from waiting for theirs."""
    detection.registries.hanging.add(REPOSITORY)
    detection.review()
    await detection.pass_seconds(0.5)
    await detection.know("quay.io/other/app")
    await detection.pass_seconds(0.5)
    assert detection.look_up("quay.io/third/app") is None
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    detection.registries.answers[REPOSITORY] = SILENT
    detection.registries.release(REPOSITORY)
    await settle()
    assert detection.look_up("quay.io/third/app") is None


async def test_nonsense_about_one_repository_says_nothing_of_the_others(detection: Detection) -> None:
    """Whoever can make a registry answer nonsense for one name does not keep others from waiting for theirs."""
    detection.registries.answers = {REPOSITORY: NONSENSE}
    await detection.know()
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    assert detection.look_up("quay.io/other/app") is None


async def test_deadline_of_zero_never_waits() -> None:
    """Where no review may wait, the question is asked all the same."""
    detection = Detection(deadline=0.0)
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    await settle()
    assert detection.look_up() is Visibility.PUBLIC


@pytest.mark.parametrize(("asked_for", "rest"), [(30.0, 30.0), (0.0, 60.0), (1e9, 6 * 3600.0)])
async def test_registry_that_wants_rest_gets_it(detection: Detection, asked_for: float, rest: float) -> None:
    """After a 429 nothing is sent to that registry until its time is over; other registries are asked."""
    detection.registries.answers[REPOSITORY] = ProbeResult(ProbeOutcome.LIMITED, retry_after=asked_for)
    await detection.know()
    await detection.pass_seconds(rest - 1)
    assert detection.look_up() is Visibility.PRESUMED_PRIVATE
    assert detection.look_up("quay.io/other/app") is Visibility.PRESUMED_PRIVATE
    assert detection.count("answers_total", answer="limited") == 2
    await settle()
    assert len(detection.registries.asked) == 1
    assert detection.look_up("ghcr.io/other/app") is None

    await detection.pass_seconds(1)
    detection.registries.answers.clear()
    assert await detection.know() == [Visibility.PUBLIC]


async def test_old_word_of_a_resting_registry_is_used(detection: Detection) -> None:
    """A word that is due while its registry wants rest answers, and is refreshed after that."""
    await detection.know()
    await detection.pass_seconds(3590)
    detection.registries.answers["quay.io/other/app"] = ProbeResult(ProbeOutcome.LIMITED, retry_after=100)
    await detection.know("quay.io/other/app")
    await detection.pass_seconds(99)
    assert detection.look_up() is Visibility.PUBLIC
    await settle()
    assert len(detection.registries.asked) == 2
    await detection.pass_seconds(1)
    assert detection.look_up() is Visibility.PUBLIC
    await settle()
    assert len(detection.registries.asked) == 3


async def test_review_that_is_given_up_leaves_nothing_behind(detection: Detection) -> None:
    """A caller that goes away ends its waiting, and neither the question nor anybody else's."""
    detection.registries.hanging.add(REPOSITORY)
    gone, other = detection.review(), detection.review()
    await settle()
    gone.cancel()
    await settle()
    assert detection.count("waiting") == 1
    detection.registries.release(REPOSITORY)
    assert await other == [Visibility.PUBLIC]


async def test_closing_gives_up_what_is_on_its_way(detection: Detection) -> None:
    """At the end no question goes on."""
    detection.registries.hanging.add("quay.io")
    for number in range(20):
        detection.review(f"quay.io/a/b{number}")
    await settle()
    assert detection.registries.busy > 0
    await detection.detector.close()
    assert detection.registries.busy == 0


async def test_silent_registry_is_logged_by_name_and_not_too_often(
    detection: Detection, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever has to open a firewall reads which registry is silent; inventing registries does not fill the log."""
    hosts = [f"registry-{number}.example" for number in range(40)]
    for host in hosts:
        detection.registries.answers[f"{host}/a/b"] = SILENT
        await detection.know(f"{host}/a/b")
        await detection.know(f"{host}/a/b")

    told = [vars(record) for record in caplog.records if "no answer" in record.getMessage()]
    assert [(line["registry"], line["cause"]) for line in told] == [(host, SILENT.cause) for host in hosts[:20]]
