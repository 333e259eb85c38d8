"""`make bench`: every section, or the one that SECTION names; tables and plots go into docs/ and build/bench/."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping

from bench import scale, takeover
from bench.admission.measuring import measure as measure_admission
from bench.overload.measuring import measure as measure_overload
from bench.pace import read_pace
from bench.pages import write_section
from bench.scale.sizes import InvalidSizes, read_sizes
from bench.webhook.measuring import measure as measure_webhook
from replicated_proxy.kube.errors import ApiError
from rig.errors import RigError
from rig.progress import say

SECTIONS: Mapping[str, Callable[[], str]] = {
    "webhook": measure_webhook,
    "admission": measure_admission,
    "overload": measure_overload,
    "scale": scale.measure,
    "takeover": takeover.measure_takeover,
}
_MINUTES: Mapping[str, str] = {
    "webhook": "5 minutes",
    "admission": "3 minutes",
    "overload": "3 minutes",
    "scale": "20 minutes with 5,000 namespaces, 5 with 500",
    "takeover": "3 minutes",
}


def main() -> int:
    """Measure; returns the exit code."""
    chosen = os.environ.get("SECTION", "")
    if chosen and chosen not in SECTIONS:
        say(f"error: SECTION={chosen} is none of {', '.join(SECTIONS)}; leave it empty for all of them")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))  # Cleans up as Ctrl-C does.
    try:
        read_sizes(os.environ)
        read_pace(os.environ, 1, 1.0)  # What is wrong with them is said now, not after the sections before.
        for name in [chosen] if chosen else SECTIONS:
            _run(name)
    except (InvalidSizes, RigError, ApiError, TimeoutError) as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted; the pages are as they were")
        return 130
    return 0


def _run(name: str) -> None:
    """Measure one section and keep its text."""
    say(f"section {name}: takes about {_MINUTES[name]}")
    started = time.monotonic()
    text = SECTIONS[name]()
    print(text)
    write_section(name, text)
    say(f"section {name}: done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
