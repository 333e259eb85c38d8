"""Cleans up behind a node, however it ended: ``python -m rig.sweeper PIPE WORKDIR GROUP…``.

A node's namespaces end with its first process and take mounts, network and processes with them. Control groups and
files stay (as do those of a control plane without a node); only a process that outlives the rig can remove those after
a SIGKILL. It waits for the end of a pipe whose other end only the rig holds.
"""

import os
import shutil
import sys
from pathlib import Path

from rig import cgroups
from rig.waiting import wait_until

_SECONDS = 30


def _removed(folder: Path) -> bool:
    # Again if need be: processes that are being killed this moment may still write.
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


if __name__ == "__main__":
    pipe, workdir, *groups = sys.argv[1:]
    os.read(int(pipe), 1)
    cgroups.remove(Path(group) for group in groups)
    wait_until(lambda: _removed(Path(workdir)), what=f"the end of {workdir}", seconds=_SECONDS)
