"""Makes the node's own view of the machine. Runs inside the new namespaces; the host sees none of it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rig import cgroups
from rig.errors import RigError
from rig.layout import DNS_ADDRESS, GATEWAY_ADDRESS, NODE_NAME, PREFIX_LENGTH, Layout, names_by_address
from rig.processes import run, tail_of

# The cgroup namespace is missing here: it is made by the first process, once it has joined our groups.
# --kill-child: the first process dies with unshare, hence with the rig. --mount-proc: without a /proc of its own, every
# program would see the host's process IDs.
UNSHARE = (
    "unshare",
    "--mount",
    "--net",
    "--pid",
    "--uts",
    "--ipc",
    "--fork",
    "--kill-child",
    "--mount-proc",
)

_NAMESPACES = ("--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup")

# Written by everything that looks for a container runtime or a kubelet; each gets a folder of the node's own.
_PRIVATE_FOLDERS = ("/run", "/var/lib", "/var/log")

# The kubelet insists on these values and sets them otherwise. They are the machine's, not a namespace's, so it is
# shown files that already hold them: the host's stay as they are.
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def prepare(layout: Layout, private_registries: Sequence[str]) -> None:
    """Set up mounts, control groups and network."""
    run(["hostname", NODE_NAME])
    cgroups.mount_own()
    for folder in _PRIVATE_FOLDERS:
        source = layout.mounts / folder.strip("/").replace("/", "-")
        source.mkdir(parents=True)
        _bind(source, Path(folder))
    for name, value in _KERNEL_SETTINGS.items():
        _bind_text(layout, Path("/proc/sys") / name, f"{value}\n")
    _bind_text(layout, Path("/etc/hosts"), hosts_file(private_registries))
    _bind_text(layout, Path("/etc/resolv.conf"), f"nameserver {DNS_ADDRESS}\n")
    prepare_network([*names_by_address(private_registries), DNS_ADDRESS])


def entering(layout: Layout) -> list[str]:
    """Return what to put before a command so that it runs inside the node."""
    target = namespaces_of(layout.process_id, layout.logs / "first-process.log")
    return ["nsenter", "--target", target, *_NAMESPACES, "--"]


def namespaces_of(process_id: Path, log: Path) -> str:
    """Return the ID of the process whose namespaces they are.

    Raises:
        RigError: it has ended; its log says why.
    """
    parent = process_id.read_text()
    # What we started is unshare; the namespaces are those of its only child.
    file = Path(f"/proc/{parent}/task/{parent}/children")
    children = file.read_text().split() if file.exists() else []
    if not children:
        raise RigError(f"what ran there has ended\n{tail_of(log)}")
    return children[0]


def refuse_hidden_folders(needed: Iterable[Path]) -> None:
    """Refuse to run from folders that the node's own would cover."""
    for folder in needed:
        for covering in map(Path, _PRIVATE_FOLDERS):
            if folder.resolve().is_relative_to(covering):
                raise RigError(f"{folder} is below {covering}, which a node replaces by its own; move it elsewhere")


def hosts_file(private_registries: Sequence[str]) -> str:
    """Return the node's /etc/hosts: the real names, at our addresses."""
    names = {"127.0.0.1": ("localhost",), **names_by_address(private_registries)}
    return "".join(f"{address} {' '.join(each)}\n" for address, each in names.items())


def _bind(source: Path, target: Path) -> None:
    run(["mount", "--bind", str(source), str(target)])


def _bind_text(layout: Layout, target: Path, text: str) -> None:
    source = layout.mounts / str(target).strip("/").replace("/", "-")
    source.write_text(text)
    _bind(source, target)


def prepare_network(addresses: Sequence[str], gateway: str = GATEWAY_ADDRESS) -> None:
    """Give these namespaces addresses of their own, and a default route that leads nowhere."""
    run(["ip", "link", "set", "lo", "up"])
    # A bridge without ports: not every kernel has the "dummy" device, and an address needs one.
    run(["ip", "link", "add", "rig0", "type", "bridge"])
    for address in addresses:
        run(["ip", "address", "add", f"{address}/{PREFIX_LENGTH}", "dev", "rig0"])
    run(["ip", "link", "set", "rig0", "up"])
    # Leads nowhere, but programs look at the default route to learn the node's address.
    run(["ip", "route", "add", "default", "via", gateway])
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
