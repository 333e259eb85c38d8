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
from demo.visiting import tell_on_existing
from rig.clusters import EXISTING, WHOLE, Wish, choose, make_whole
from rig.errors import RigError


def main() -> int:
    """Run the demo; returns the exit code."""
    teller, started = Teller(), time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that SIGTERM takes the cluster down as Ctrl-C does.
    try:
        wish = Wish.read(os.environ)
        kind, reason = choose(wish)
        teller.console.print(f"[bold]Cluster:[/bold] {kind} ({reason})")
        if kind in WHOLE:
            _tell_whole(teller, kind)
        elif kind == EXISTING:
            tell_on_existing(teller, wish)
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


def _tell_whole(teller: Teller, kind: str) -> None:
    """Tell the whole story where Pods pull and run, and take the cluster down."""
    cluster = make_whole(kind)
    image = cluster.operator_image()
    with cluster:
        keep = bool(os.environ.get("KEEP"))
        Story(cluster, teller).tell(image, keep=keep)
        if keep:
            teller.console.print(f"\n{hint(cluster.kubeconfig)}", markup=False)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()


if __name__ == "__main__":
    sys.exit(main())
