"""Joins control groups, then becomes the given command: ``python -m rig.enter GROUP… -- COMMAND…``.

A program of its own, because the groups must be joined after the fork and before the cgroup namespace is made.
"""

import os
import sys
from pathlib import Path

from rig import cgroups

if __name__ == "__main__":
    separator = sys.argv.index("--")
    cgroups.join(Path(group) for group in sys.argv[1:separator])
    command = sys.argv[separator + 1 :]
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted
