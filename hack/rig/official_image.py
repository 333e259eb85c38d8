"""kind's official node image: which one its release names, and whether a Docker has it or can pull it."""

import re

from rig.cache import cache_folder
from rig.docker import Docker
from rig.errors import RigError
from rig.module_files import module_folder
from rig.processes import tail_of
from rig.progress import run_logged, say, step

_SOURCE = "pkg/apis/config/defaults/image.go"


def pinned_image() -> str:
    """Return the image, by name and digest, that the pinned release of kind makes its nodes from.

    Raises:
        RigError: kind's module cannot be had, or does not say.
    """
    source = module_folder("kind", "sigs.k8s.io/kind") / _SOURCE
    found = re.search(r'^const Image = "(\S+@sha256:[0-9a-f]{64})"$', source.read_text(), re.MULTILINE)
    if found is None:
        raise RigError(f"{source} names no image with a digest: say in rig/official_image.py where kind has it now")
    return found[1]


def obstacle_to_image(docker: Docker, image: str) -> str:
    """Return why an image cannot be had, the last that Docker said of it; empty if it is there. What is not is pulled.

    Everything that Docker said is kept in a log, which the reason names, and its end is shown.
    """
    if _is_there(docker, image):
        return ""
    log = cache_folder("docker-images") / "pull.log"
    # What an earlier attempt said would pass for the reason of this one.
    log.unlink(missing_ok=True)
    try:
        with step(f"pulling {image}"):
            run_logged(docker.command("pull", image), log)
    except RigError as error:
        say(str(error))
        return f"{tail_of(log, 1)} ({log})"
    return ""


def _is_there(docker: Docker, image: str) -> bool:
    """Whether the daemon has the image; asked in the way in which kind does before it creates a cluster."""
    try:
        docker.run("image", "inspect", image)
    except RigError:
        return False
    return True
