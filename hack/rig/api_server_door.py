"""A way from the host's loopback to an API server that is published in another network namespace."""

import json
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from rig.processes import Process
from rig.sweeping import python_environment


class ApiServerDoor:
    """Carries connections to where a kubeconfig leads, and makes the kubeconfig lead to us instead."""

    def __init__(self, entering: Sequence[str], kubeconfig: Path, logs: Path) -> None:
        document = json.loads(kubeconfig.read_text())
        cluster = document["clusters"][0]["cluster"]
        inner = urlsplit(cluster["server"])
        with socket.create_server(("127.0.0.1", 0)) as listener:
            target = [str(listener.fileno()), str(inner.hostname), str(inner.port)]
            command = [*entering, sys.executable, "-m", "rig.forwarder", *target]
            forwarder = Process("forwarder", command, log=logs / "forwarder.log", env=python_environment())
            self._forwarder = forwarder.inheriting(listener.fileno())
            self._forwarder.start()
            # Its certificate is for 127.0.0.1, whatever the port.
            cluster["server"] = f"https://127.0.0.1:{listener.getsockname()[1]}"
        kubeconfig.write_text(json.dumps(document, indent=2))

    def close(self) -> None:
        """Carry no more."""
        self._forwarder.stop()
