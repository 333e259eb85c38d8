"""What the types of the detection settings cannot say."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Final
from urllib.parse import urlsplit

from replicated_proxy.core.assumptions import InvalidAssumption, parse_assumption
from replicated_proxy.core.objects import is_object_name
from replicated_proxy.settings.detecting import DetectionSettings

_LONGEST_SECONDS: Final = 31_536_000  # A year: beyond any use, and within what timers take.
_LONGEST_DEADLINE: Final = 15  # Half of the longest timeout that a webhook configuration may have.
_MOST_VERDICTS: Final = 1_000_000
_MOST_QUESTIONS: Final = 1000  # More than one process can ask.


def check_detection(detection: DetectionSettings) -> Iterator[str]:
    """Return every problem, each naming key, value and remedy."""
    yield from _check_times(detection)
    yield from _check_networks(detection)
    for pattern, word in detection.assume.items():
        try:
            parse_assumption(pattern, word)
        except InvalidAssumption as error:
            yield f"detection.assume.{error}"
    if detection.http_proxy and not _is_proxy(detection.http_proxy):
        yield (
            "detection.httpProxy: the value is no proxy: write http://host:port, without a path, a user or a password "
            "(it is not repeated here, since it may hold one)"
        )
    if not is_object_name(detection.replicas_service):
        name = detection.replicas_service
        yield f"detection.replicasService: {name!r} is no DNS name: write it as service.namespace.svc"
    if not 1 <= detection.most_verdicts <= _MOST_VERDICTS:
        yield f"detection.mostVerdicts: {detection.most_verdicts} is out of range: write 1 to {_MOST_VERDICTS}"
    if not 0 < detection.questions_per_second <= _MOST_QUESTIONS:
        yield (
            f"detection.questionsPerSecond: {detection.questions_per_second} is out of range: write more than 0 and at "
            f"most {_MOST_QUESTIONS}"
        )


def _check_times(detection: DetectionSettings) -> Iterator[str]:
    """Check how long things take and hold; `.nan` is refused too, since it compares with no number."""
    times = {
        "probeSeconds": detection.probe_seconds,
        "publicSeconds": detection.public_seconds,
        "privateSeconds": detection.private_seconds,
        "errorSeconds": detection.error_seconds,
        "collectSeconds": detection.collect_seconds,
    }
    if not 0 <= detection.deadline <= _LONGEST_DEADLINE:
        yield f"detection.deadline: {detection.deadline} is out of range: write 0 to {_LONGEST_DEADLINE} seconds"
    for key, seconds in times.items():
        if not 0 < seconds <= _LONGEST_SECONDS:
            yield (
                f"detection.{key}: {seconds} is out of range: write more than 0 and at most {_LONGEST_SECONDS} seconds"
            )


def _check_networks(detection: DetectionSettings) -> Iterator[str]:
    """Check ranges of addresses."""
    for key, networks in (
        ("allowedNetworks", detection.allowed_networks),
        ("internalNetworks", detection.internal_networks),
    ):
        for index, network in enumerate(networks):
            try:
                ip_network(network)
            except ValueError as error:
                yield f"detection.{key}[{index}]: {network!r} is no network ({error}): write it as 10.0.0.0/8"


def _is_proxy(text: str) -> bool:
    """Tell whether a text is an HTTP proxy's address without credentials."""
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False
    bare = parts.path in {"", "/"} and not parts.query and not parts.fragment
    return named and bare and parts.scheme == "http" and "@" not in parts.netloc
