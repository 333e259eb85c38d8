"""The parts of the rig that need no Kubernetes: keys, files, parsing."""

import base64
import json
import stat
import tarfile
from ipaddress import ip_address, ip_network
from pathlib import Path

import bcrypt
import pytest

from rig.archives import pack
from rig.authority import Authority
from rig.cache import digest_of, scratch
from rig.cgroups import hierarchies
from rig.dns import zone_file
from rig.errors import RigError
from rig.flags import SERVICE_NETWORK
from rig.golang import parse_version, required_version
from rig.images import copied_files
from rig.kubeconfig import Server, write_kubeconfig
from rig.layout import (
    HANGING_ADDRESS,
    NODE_ADDRESS,
    POD_NETWORK,
    PUBLIC_ADDRESS,
    REGISTRY_NETWORK,
    UPSTREAM_ADDRESS,
)
from rig.namespaces import hosts_file, refuse_hidden_folders
from rig.packages import Package, remedy
from rig.pip_configuration import for_build, parse_listing
from rig.upstream import htpasswd_line


def test_key_changes_with_content_name_and_words(tmp_path: Path) -> None:
    """What was built from other sources, or with other flags, is never used."""
    file = tmp_path / "go.mod"
    file.write_text("module a\n")
    first = digest_of([file], "-s", root=tmp_path)
    assert digest_of([file], "-s", root=tmp_path) == first
    assert digest_of([file], "-w", root=tmp_path) != first
    file.write_text("module b\n")
    assert digest_of([file], "-s", root=tmp_path) != first
    renamed = file.rename(tmp_path / "go.sum")
    renamed.write_text("module a\n")
    assert digest_of([renamed], "-s", root=tmp_path) != first


def test_scratch_is_empty_after_a_crash_and_removed_after_use(tmp_path: Path) -> None:
    """What an interrupted build left is no start for the next one."""
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "half").touch()
    with scratch(tmp_path) as folder:
        assert list(folder.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [("go1.26.8", (1, 26, 8)), ("1.26.0", (1, 26, 0)), ("go1.27", (1, 27, 0)), ("go1.27rc1", (1, 27, 1))],
)
def test_go_versions_are_read(text: str, version: tuple[int, ...]) -> None:
    """Versions compare as numbers."""
    assert parse_version(text) == version


def test_highest_go_directive_counts(tmp_path: Path) -> None:
    """One Go builds all the modules that are asked for."""
    (tmp_path / "a.mod").write_text("module a\n\ngo 1.26.0\n")
    (tmp_path / "b.mod").write_text("module b\n\ngo 1.26.6\n")
    assert required_version(tmp_path.glob("*.mod")) == (1, 26, 6)


def test_kubeconfig_holds_certificate_or_token(tmp_path: Path) -> None:
    """Both kinds of users are written, and nobody else may read the file."""
    authority = Authority.create(tmp_path / "pki")
    server = Server("https://127.0.0.1:6443", authority.pair.certificate)
    pair = authority.client("jane", ["devs"])
    path = write_kubeconfig(tmp_path / "jane", server, pair)
    user = json.loads(path.read_text())["users"][0]["user"]
    assert base64.b64decode(user["client-certificate-data"]) == pair.certificate.read_bytes()
    assert base64.b64decode(user["client-key-data"]) == pair.key.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = write_kubeconfig(tmp_path / "robot", server, "t0ken")
    assert json.loads(token.read_text())["users"][0]["user"] == {"token": "t0ken"}


def test_authority_reads_itself_back(tmp_path: Path) -> None:
    """The node's first process signs with the authority that the host made."""
    made = Authority.create(tmp_path)
    assert Authority.load(tmp_path).certificate == made.certificate


def test_htpasswd_line_verifies() -> None:
    """Distribution reads bcrypt and nothing else."""
    user, _, hashed = htpasswd_line("robot", "s3cret").strip().partition(":")
    assert user == "robot"
    assert bcrypt.checkpw(b"s3cret", hashed.encode())


def test_hosts_file_gives_the_real_names() -> None:
    """Images keep the names that they have in production."""
    names = {line.split()[0]: line.split()[1:] for line in hosts_file(["quay.io", "gcr.io"]).splitlines()}
    assert "proxy.replicated.com" in names[NODE_ADDRESS]
    assert names[UPSTREAM_ADDRESS] == ["quay.io", "gcr.io"]


def test_pods_find_what_programs_find() -> None:
    """The zone has the names of the hosts file, at the same addresses."""
    listed = {(line.split()[0], name) for line in hosts_file(["quay.io"]).splitlines() for name in line.split()[1:]}
    records = [line.split() for line in zone_file(["quay.io"]).splitlines()]
    served = {(record[-1], record[0].removesuffix(".")) for record in records if record[-2] == "A"}
    assert served == listed - {("127.0.0.1", "localhost")}


def test_registries_may_be_asked_and_the_cluster_may_not() -> None:
    """The one range that tests let the operator ask holds every registry of the world outside, and nothing else."""
    outside = ip_network(REGISTRY_NETWORK)
    assert all(ip_address(address) in outside for address in (UPSTREAM_ADDRESS, PUBLIC_ADDRESS, HANGING_ADDRESS))
    assert ip_address(NODE_ADDRESS) not in outside
    assert not any(outside.overlaps(ip_network(network)) for network in (POD_NETWORK, SERVICE_NETWORK))


def test_folders_that_the_node_would_cover_are_refused() -> None:
    """A cache below /var/lib would vanish inside the node; better said at once."""
    refuse_hidden_folders([Path("/home/somebody/.cache")])
    with pytest.raises(RigError, match="below /var/lib"):
        refuse_hidden_folders([Path("/var/lib/somebody/.cache")])


_MOUNTS = """\
23 1 254:0 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def test_control_groups_are_found_in_a_hybrid() -> None:
    """Each hierarchy with its controllers, and where this process is in it."""
    found = hierarchies(_MOUNTS, "9:name=systemd:/\n4:memory:/jail/one\n0::/\n")
    assert [(each.kind, each.options, str(each.own)) for each in found] == [
        ("cgroup", "memory", "/sys/fs/cgroup/memory/jail/one"),
        ("cgroup", "name=systemd", "/sys/fs/cgroup/systemd"),
        ("cgroup2", "", "/sys/fs/cgroup/unified"),
    ]


def test_missing_packages_are_named_together_with_the_remedy() -> None:
    """One message, one command to run."""
    assert not Package("nothing", program="no-such-program").present
    message = remedy(["iptables", "buildah"])
    assert "apt-get install --no-install-recommends iptables buildah" in message


def test_image_depends_on_what_the_dockerfile_copies(tmp_path: Path) -> None:
    """Files of other stages, flags and bytecode do not count."""
    for name in ("operator/a.py", "operator/__pycache__/a.pyc", "README.md", "unrelated"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    text = "COPY --chown=1 operator \\\n README.md /src/\nCOPY --from=builder /unrelated /x\nRUN true\n"
    found = [path.relative_to(tmp_path).as_posix() for path in copied_files(tmp_path, text)]
    assert found == ["README.md", "operator/a.py"]


def test_pip_options_reach_the_build(tmp_path: Path) -> None:
    """Files and environment alike; folders are mounted, the certificates are those of the build."""
    listing = f"global.cert='/host.crt'\n:env:.timeout='180'\n:env:.find-links='{tmp_path} elsewhere'\n"
    text, folders = for_build(parse_listing(listing), "/build.crt")
    assert folders == {str(tmp_path): "/mnt"}
    assert text == "[global]\ncert = /build.crt\ntimeout = 180\nfind-links = /mnt elsewhere\n"


def test_packed_archive_runs_its_one_program(tmp_path: Path) -> None:
    """The archive holds a layer, and a configuration that starts the program."""
    program = tmp_path / "pause"
    program.write_bytes(b"\x7fELF")
    archive = pack(program, "quay.io/my-org/api:v1.0.1", tmp_path / "image.tar")
    with tarfile.open(archive) as tar:
        configuration = json.load(tar.extractfile("config.json") or archive.open())
        manifest = json.load(tar.extractfile("manifest.json") or archive.open())
    assert configuration["config"]["Entrypoint"] == ["/pause"]
    assert manifest[0]["RepoTags"] == ["quay.io/my-org/api:v1.0.1"]
