"""How a process begins and ends."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from replicated_proxy import composition
from replicated_proxy.cli import main
from replicated_proxy.composition import Installation, with_two_health_ports
from replicated_proxy.kube.answers import can_read_depth
from replicated_proxy.kube.client import KubeClient
from replicated_proxy.kube.errors import NoCluster
from replicated_proxy.settings import ControllerSettings, Settings, WebhookSettings
from replicated_proxy.telemetry import logs

INSTALLATION = Installation(Settings(), None)


class Nobody:
    """A client that is connected to nothing."""

    closed = False

    async def close(self) -> None:
        """Note that it was closed."""
        self.closed = True


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Return what goes to the log, and connect to nothing."""
    stream, root = io.StringIO(), logging.getLogger()
    before, level = root.handlers[:], root.level
    monkeypatch.setattr(composition, "configure_logs", lambda level: logs.configure_logs(level, stream))

    async def connect(*_: object) -> Nobody:
        return Nobody()

    monkeypatch.setattr(KubeClient, "connect", connect)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """Read the log; each line is JSON or the test fails."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def end_with(error: BaseException) -> composition.Role:
    """Return a role that ends with an error."""

    async def role(*_: object) -> None:
        await asyncio.sleep(0)
        raise error

    return role


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), OSError("taken"), ExceptionGroup("several", [ValueError("Authorization: Bearer planted-token")])],
)
def test_crash_goes_through_the_log(log: io.StringIO, capfd: pytest.CaptureFixture[str], error: Exception) -> None:
    """Whatever ends a role is one JSON line with the traceback, redacted, and status 1; nothing goes past the log."""
    with pytest.raises(SystemExit) as ended:
        composition._run(end_with(error), INSTALLATION)

    assert ended.value.code == 1
    (line,) = lines(log)
    assert line["level"] == "CRITICAL"
    assert "Traceback" in line["error"]
    assert "planted-token" not in log.getvalue()
    assert capfd.readouterr() == ("", "")


def test_no_cluster_is_one_line_with_the_remedy(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a cluster to talk to there is no traceback, only what to do."""

    async def connect(*_: object) -> Nobody:
        raise NoCluster("no service account; give --kubeconfig")

    monkeypatch.setattr(KubeClient, "connect", connect)
    with pytest.raises(SystemExit) as ended:
        composition.run_controller(INSTALLATION)

    assert ended.value.code == 1
    (line,) = lines(log)
    assert line["message"] == "no service account; give --kubeconfig"
    assert "error" not in line


async def test_role_that_is_cancelled_takes_its_work_along() -> None:
    """When one of two roles in a process fails, nothing of the other is left running."""
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    role = asyncio.ensure_future(composition._until(asyncio.Event(), work()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    role.cancel()
    with pytest.raises(asyncio.CancelledError):
        await role

    assert ended.is_set()


def test_role_that_ends_well_ends_the_process_well(log: io.StringIO) -> None:
    """A role that returns, returns; its client is closed."""
    seen: list[Any] = []

    async def role(_settings: Settings, client: Any, _stop: asyncio.Event) -> None:
        await asyncio.sleep(0)
        seen.append(client)

    composition._run(role, INSTALLATION)

    assert lines(log) == []
    assert seen[0].closed


@pytest.mark.parametrize(
    ("controller", "health", "https", "expected"),
    [
        (8080, 8080, 10250, 8081),
        (8080, 9090, 10250, 9090),
        (8080, 8080, 8081, 8082),
        (65535, 65535, 10250, 1024),
        (0, 0, 10250, 0),
    ],
)
def test_two_roles_in_one_process_have_two_health_ports(
    controller: int, health: int, https: int, expected: int
) -> None:
    """The webhook's health server moves to the next free number; 0 is free always."""
    settings = Settings(
        controller=ControllerSettings(health_port=controller),
        webhook=WebhookSettings(health_port=health, port=https),
    )

    webhook = with_two_health_ports(settings).webhook

    assert (webhook.health_port, webhook.port) == (expected, https)


def test_replica_is_called_like_its_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a Pod the identity is the Pod's name, which outlives a crash; elsewhere no two processes share one."""
    anonymous = composition.own_identity.__wrapped__
    monkeypatch.setenv("POD_NAME", "controller-7d4b-x2x9p")
    assert anonymous() == "controller-7d4b-x2x9p"

    monkeypatch.delenv("POD_NAME")
    assert anonymous() != anonymous()
    assert composition.own_identity() == composition.own_identity()


def test_help_of_run_names_the_ports() -> None:
    """Where the health servers of `run` are is in its help."""
    text = CliRunner().invoke(main, ["run", "--help"]).output

    assert "8080 and 8081" in text


def test_this_python_reads_what_the_api_server_takes() -> None:
    """With the limit that the controller sets, objects can be read as deep as the API server accepts them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(12_000)
    try:
        assert can_read_depth(9_000)
    finally:
        sys.setrecursionlimit(before)


def test_trusted_key_that_is_none_ends_with_words(tmp_path: Path) -> None:
    """A PEM that is no key is told as every other setting: exit code 2, the key's name, and no traceback."""
    settings = tmp_path / "settings.yaml"
    settings.write_text("license: {trustedKeys: {acme: not a key}}", encoding="utf-8")
    ended = CliRunner().invoke(main, ["controller", "--settings", str(settings)])

    assert ended.exit_code == 2
    assert "license.trustedKeys" in ended.output
    assert "acme" in ended.output
    assert "not a key" not in ended.output
