"""Files of pinned Go modules, read where the module cache has them: nothing of others is copied into the repository."""

import json
from pathlib import Path

from rig.cache import REPOSITORY
from rig.golang import go_command, required_version
from rig.processes import run

_MODULES = REPOSITORY / "hack" / "modules"


def module_folder(module: str, path: str) -> Path:
    """Return the folder of the Go module ``path``, at the version that hack/modules/``module`` pins.

    It is downloaded where it is missing, and refused where it is other than go.sum says.
    """
    go = go_command(required_version(_MODULES.glob("*/go.mod")))
    command = [str(go), "-C", str(_MODULES / module), "mod", "download", "-json", path]
    answer = run(command, env={"GOTOOLCHAIN": "local", "GOWORK": "off"})
    return Path(json.loads(answer)["Dir"])
