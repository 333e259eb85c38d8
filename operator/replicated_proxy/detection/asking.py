"""Asks a registry whether an image can be pulled without a password: at most one token, a few redirects, no secret.

`HEAD` of the manifest, the token that the challenge names, `HEAD` again: what a container runtime does, less the pull.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from yarl import URL

from replicated_proxy.core.challenges import Challenge, MalformedChallenge, bearer_of, parse_challenges
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.probes import ProbeOutcome, ProbeResult
from replicated_proxy.detection import answers
from replicated_proxy.detection.answers import Unanswered, failed
from replicated_proxy.detection.dialing import ForbiddenHost, Lookups
from replicated_proxy.detection.requesting import Answer, Line
from replicated_proxy.detection.trust import Trust
from replicated_proxy.settings.detecting import DetectionSettings

_log = logging.getLogger(__name__)
HTTPS: Final = 443
_MOST_REDIRECTS: Final = 5


class Prober:
    """Asks registries.

    A probe has at most one connection at a time; whoever asks bounds how many probes there are.
    """

    def __init__(self, settings: DetectionSettings, *, lookups: Lookups | None = None, port: int = HTTPS) -> None:
        """Read the private authorities.

        Args:
            settings: how to ask.
            lookups: who knows addresses; for tests.
            port: the only one that is asked; for tests.

        Raises:
            InvalidCaFile: `detection.caFile` cannot be used.
        """
        self._seconds = settings.probe_seconds
        self._line = Line(settings, lookups or Lookups(), Trust(settings.ca_file))
        self._port = port

    async def probe(self, reference: ImageReference) -> ProbeResult:
        """Return what came of asking about an image, within `detection.probeSeconds`; never raises."""
        try:
            async with asyncio.timeout(self._seconds):
                return await _Conversation(self._line, reference, self._port).hold()
        except ForbiddenHost:
            return ProbeResult(ProbeOutcome.INTERNAL)
        except Unanswered as error:
            return failed(error.cause)
        except TimeoutError:
            return failed("timeout")
        except Exception as error:  # noqa: BLE001 - a registry's answer must not break anything else.
            # Neither message nor trace: both may quote what the registry said, and that may be anything.
            _log.error("asking %s failed unexpectedly: %s", reference.domain[:253], type(error).__name__)
            return failed("answer")

    async def close(self) -> None:
        """Close what connections there are."""
        await self._line.close()


@dataclass(frozen=True, slots=True)
class _Step:
    """One request: how, what it is called when its host is forbidden, and how much of the answer to read."""

    method: str
    cause: str
    most: int


class _Conversation:
    """One probe: what was asked already, and of whom."""

    def __init__(self, line: Line, reference: ImageReference, port: int) -> None:
        self._line = line
        self._reference = reference
        self._port = port
        self._method = "HEAD"
        self._redirects = 0
        self._heard = False
        """Whether anything came back yet."""
        self._token: tuple[str, str] | None = None
        """The token and the one host that it is for."""

    async def hold(self) -> ProbeResult:
        """Ask until there is an answer.

        Raises:
            ForbiddenHost: the registry is on somebody's own network.
            Unanswered: there is no answer.
        """
        answer = await self._ask_manifest(answers.manifest_url(self._reference, self._port))
        if answer.status != 401:
            return answers.read_manifest_answer(answer.status, answer.headers)
        challenge = await self._find_challenge(answer)
        if challenge is None:
            return ProbeResult(ProbeOutcome.PRIVATE)
        refused = await self._get_token(challenge, answer.url)
        if refused is not None:
            return refused
        again = await self._ask_manifest(answer.url)
        if again.status == 401 and again.url.raw_host != answer.url.raw_host:
            # Yet another host that wants to be asked for a token of its own.
            raise Unanswered("redirect")
        return answers.read_manifest_answer(again.status, again.headers)

    async def _ask_manifest(self, url: URL) -> Answer:
        """Ask for a manifest, without its content; some registries know no HEAD."""
        answer = await self._follow(self._method, url)
        if answer.status in answers.NO_HEAD and self._method == "HEAD":
            self._method = "GET"
            answer = await self._follow(self._method, answer.url)
        return answer

    async def _find_challenge(self, answer: Answer) -> Challenge | None:
        """Return the challenge that a token answers, or None where only credentials would do."""
        challenges = _read_challenges(answer)
        if not challenges:
            ping = await self._follow("GET", answers.ping_url(answer.url))
            challenges = _read_challenges(ping) if ping.status == 401 else ()
        return bearer_of(challenges)

    async def _get_token(self, challenge: Challenge, registry: URL) -> ProbeResult | None:
        """Get the one token; what is returned is an answer instead."""
        url = answers.token_url(challenge, self._reference.path, self._port)
        answer = await self._follow("GET", url, answers.LARGEST_TOKEN_ANSWER)
        if answer.status != 200:
            return answers.read_refusal(answer.status, answer.headers)
        self._token = (answers.read_token(answer.body), registry.raw_host or "")
        return None

    async def _follow(self, method: str, url: URL, most: int = 0) -> Answer:
        """Ask, and follow where the answer points.

        Raises:
            ForbiddenHost: the registry is on somebody's own network.
            Unanswered: there is no answer, or a host on the way must not be asked.
        """
        answer = await self._ask(_Step(method, "answer", most), url)
        while answer.status in answers.REDIRECTS:
            self._redirects += 1
            if self._redirects > _MOST_REDIRECTS:
                raise Unanswered("redirect")
            target = answers.checked_url(answer.headers.get("Location", ""), self._port, "redirect", base=answer.url)
            answer = await self._ask(_Step(method, "redirect", most), target)
        return answer

    async def _ask(self, step: _Step, url: URL) -> Answer:
        """Ask, and let no answer decide that a registry is internal: only what the image itself says does."""
        try:
            answer = await self._line.ask(step.method, url, self._headers(url), step.most)
        except ForbiddenHost:
            if self._heard:
                raise Unanswered(step.cause) from None
            raise
        self._heard = True
        return answer

    def _headers(self, url: URL) -> dict[str, str]:
        """Return a request's headers; the token goes to the host that asked for it and to no other."""
        headers = {"Accept": answers.ACCEPT}
        if self._token is not None and self._token[1] == url.raw_host:
            headers["Authorization"] = f"Bearer {self._token[0]}"
        return headers


def _read_challenges(answer: Answer) -> tuple[Challenge, ...]:
    """Read the challenges of an answer.

    Raises:
        Unanswered: they are malformed.
    """
    try:
        return parse_challenges(answer.headers.getall("WWW-Authenticate", []))
    except MalformedChallenge:
        raise Unanswered("answer") from None
