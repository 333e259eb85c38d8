"""Tell the story on the fullest cluster that this machine can run; KEEP=1 leaves it up."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time

from demo.local import tell_locally
from demo.story import Story, hint
from demo.telling import StepFailed, Teller
from rig.clusters import NODE, choose
from rig.errors import RigError
from rig.images import build_operator_image
from rig.node import Node


def main() -> int:
    """Run the demo; returns the exit code."""
    teller, started = Teller(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that SIGTERM takes the cluster down as Ctrl-C does.
    try:
        kind, reason = choose(os.environ.get("CLUSTER") or None)
        teller.console.print(f"[bold]Cluster:[/bold] {kind} ({reason})")
        if kind == NODE:
            _tell_on_node(teller)
        else:
            tell_locally(teller)
    except (StepFailed, RigError) as error:
        teller.console.print("\n[red bold]The demo failed[/red bold]")
        teller.console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    teller.console.print(
        f"\n[bold green]All {teller.steps} steps held[/bold green] ({time.monotonic() - started:.0f} s)"
    )
    return 0


def _tell_on_node(teller: Teller) -> None:
    """Tell the whole story on a node, and take it down."""
    image = build_operator_image()
    with Node() as node:
        keep = bool(os.environ.get("KEEP"))
        Story(node, teller).tell(image, keep=keep)
        if keep:
            teller.console.print(f"\n{hint(node.kubeconfig)}", markup=False)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    sys.exit(main())
