"""The rig's command line: ``python -m rig up|down|kubeconfig|load|build``."""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rig import binaries, clusters, kind, node, node_image
from rig.errors import RigError
from rig.progress import say
from rig.sweeping import python_environment
from rig.waiting import wait_until

_UP_SECONDS = 1800
_DOWN_SECONDS = 60
# No cluster, but `make check` lints the chart with it.
_HELM = "helm"


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """A cluster that a process of ours keeps up, as its state file tells."""

    kind: str
    pid: int
    kubeconfig: str

    @staticmethod
    def file(kind: str) -> Path:
        """Where the state of a kind is kept, per user."""
        return Path(tempfile.gettempdir()) / f"rig-{os.getuid()}-{kind}.json"

    @classmethod
    def find(cls, kind: str) -> "RunningCluster | None":
        """Return the cluster of that kind that is up."""
        try:
            found = cls(**json.loads(cls.file(kind).read_text()))
            os.kill(found.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return found

    def write(self) -> None:
        """Tell other invocations."""
        state = {"kind": self.kind, "pid": self.pid, "kubeconfig": self.kubeconfig}
        self.file(self.kind).write_text(json.dumps(state))


def _up(arguments: argparse.Namespace) -> None:
    chosen, reason = clusters.choose(clusters.Wish(arguments.kind or ""))
    if RunningCluster.find(chosen) is not None:
        raise RigError(f"a {chosen} is up already; `python -m rig down --kind {chosen}` ends it")
    say(f"cluster: {chosen} ({reason})")
    if arguments.detach:
        _detach(chosen)
        return
    # As with Ctrl-C: unwind, and take the cluster down on the way.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cluster = clusters.make(chosen)
    try:
        cluster.up()
        RunningCluster(chosen, os.getpid(), str(cluster.kubeconfig)).write()
        print(cluster.kubeconfig, flush=True)
        say("Ctrl-C ends it")
        signal.pause()
    except KeyboardInterrupt:
        say("ending")
    finally:
        cluster.down()
        # Last: `down` takes it for the end.
        RunningCluster.file(chosen).unlink(missing_ok=True)


def _detach(kind: str) -> None:
    command = [sys.executable, "-m", "rig", "up", "--kind", kind]
    environment = {**os.environ, **python_environment()}
    keeper = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=environment, start_new_session=True
    )

    def running() -> RunningCluster | None:
        if keeper.poll() is not None:
            raise RigError(f"the {kind} did not come up")
        return RunningCluster.find(kind)

    print(wait_until(running, what=f"the {kind}", seconds=_UP_SECONDS).kubeconfig)


def _found(arguments: argparse.Namespace) -> RunningCluster:
    kinds = [arguments.kind] if arguments.kind else clusters.OURS
    for each in kinds:
        if running := RunningCluster.find(each):
            return running
    raise RigError(f"no cluster is up ({', '.join(kinds)}); `python -m rig up` starts one")


def _down(arguments: argparse.Namespace) -> None:
    running = _found(arguments)
    os.kill(running.pid, signal.SIGTERM)
    wait_until(lambda: RunningCluster.find(running.kind) is None, what="its end", seconds=_DOWN_SECONDS)


def _kubeconfig(arguments: argparse.Namespace) -> None:
    print(_found(arguments).kubeconfig)


def _load(arguments: argparse.Namespace) -> None:
    running = _found(arguments)
    if running.kind not in clusters.WHOLE:
        raise RigError(f"a {running.kind} has nothing that could run an image")
    load = node.load_into if running.kind == clusters.NODE else kind.load_into
    load(Path(running.kubeconfig).parent, arguments.archive)


def _build(arguments: argparse.Namespace) -> None:
    if arguments.kind == _HELM:
        print(binaries.provide(["helm"])["helm"])
        return
    chosen, _ = clusters.choose(clusters.Wish(arguments.kind or ""))
    if chosen == clusters.CONTROL_PLANE:
        binaries.provide(binaries.CONTROL_PLANE)
        return
    if chosen == clusters.KIND_ASSEMBLED:
        node_image.provide_node_image()
    # To make it is to build what it needs.
    cluster = clusters.make_whole(chosen)
    print(cluster.operator_image().archive)
    cluster.down()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rig", description="Real Kubernetes on this machine, for tests and the demo.")
    commands = parser.add_subparsers(required=True)
    for name, action, explanation in (
        ("up", _up, "bring a cluster up and keep it until Ctrl-C"),
        ("down", _down, "end it"),
        ("kubeconfig", _kubeconfig, "print the path of its kubeconfig"),
        ("load", _load, "put an image archive on its node"),
        ("build", _build, "build what it needs, and bring nothing up"),
    ):
        command = commands.add_parser(name, help=explanation)
        command.set_defaults(action=action)
        kinds = [*clusters.OURS, _HELM] if action is _build else clusters.OURS
        command.add_argument("--kind", choices=kinds, help="default: the fullest that this machine can run")
        if name == "up":
            command.add_argument("--detach", action="store_true", help="return when it is ready; `down` ends it")
        if name == "load":
            command.add_argument("archive", type=Path)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what stands in the way is said in one message, without a traceback."""
    given = _parser().parse_args(arguments)
    try:
        given.action(given)
    except RigError as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
