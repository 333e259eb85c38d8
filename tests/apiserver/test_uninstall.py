"""Uninstalling and installing again, on the real API server: what stays, what is known again, what a clean-up takes."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operating import SECRET, Cluster, Namespaces, a_license, an_application, content_of, foreign_secret
from rig.binaries import provide
from rig.cache import REPOSITORY
from rig.controlplane import ControlPlane
from rig.processes import run
from rig.roles import CHART, KINDS, NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver

Json = dict[str, Any]
_CLEANUP = f"{NAMESPACE}-cleanup"
_HOOK = "helm.sh/hook"
_ANOTHER: Json = {"settings": {"installation": f"{NAMESPACE}/another-release"}}
_CLEANING: Json = {"cleanup": {"onUninstall": True}}
# Short, since a controller that is killed leaves its Lease to run out.
_LEASE: Json = {"leaseSeconds": 3, "renewSeconds": 2, "retrySeconds": 0.5}
# Longer than a clean-up waits here: one that finds it free has found no controller.
_LONG_LEASE: Json = {"settings": {"controller": {"leaseSeconds": 600, "renewSeconds": 300, "retrySeconds": 0.5}}}
_HOME = [
    ("configmap", "replicated-proxy-routes"),
    ("secret", "replicated-proxy-ca"),
    ("secret", "replicated-proxy-serving"),
    ("lease", "replicated-proxy-controller"),
]


class Installation:
    """A release without Pods: helm's objects and a controller that runs from this checkout."""

    def __init__(self, cluster: Cluster, folder: Path, values: Json | None = None) -> None:
        # Without the hook, which rendering alone would run at once.
        self._values: Json = {"settings": {"controller": _LEASE, **(values or {}).get("settings", {})}}
        self._cluster = cluster
        self._folder = folder
        self._controller: RoleProcess | None = None

    def install(self) -> None:
        """Apply helm's objects, and start the controller."""
        self._cluster.install(self._values)
        self._controller = RoleProcess("controller", self._cluster, self._folder, self._values)
        self._controller.start()

    def kill(self) -> None:
        """End the controller without a word."""
        assert self._controller is not None
        self._controller.kill()

    def uninstall(self) -> None:
        """Stop the controller and delete what `helm uninstall` would: all but the definitions."""
        if self._controller is not None:
            self._controller.stop()
        gone = [
            document
            for document in self._cluster.render(self._values)
            if document["kind"] != "CustomResourceDefinition"
        ]
        self._cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=yaml.safe_dump_all(gone))

    def cleanup(self, seconds: int = 60) -> tuple[int, list[Json]]:
        """Do what the hook does, as the account that the chart makes for it; returns the exit code and the log."""
        rendered = self._cluster.render_all({**self._values, **_CLEANING})
        hooks = [document for document in rendered if _HOOK in _annotations(document)]
        (job,) = (document for document in hooks if document["kind"] == "Job")
        objects = [document for document in hooks if document is not job]
        self._cluster.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
        (settings,) = (document for document in hooks if document["kind"] == "ConfigMap")
        path = self._folder / "cleanup.yaml"
        path.write_text(settings["data"]["settings.yaml"], encoding="utf-8")
        account = self._cluster.plane.kubeconfig_for_service_account(NAMESPACE, _CLEANUP)
        (container,) = job["spec"]["template"]["spec"]["containers"]
        places = {"/etc/replicated-proxy/settings.yaml": str(path), "240": str(seconds)}
        arguments = [places.get(word, word) for word in container["args"]]
        done = subprocess.run(  # noqa: S603 - arguments of ours.
            [sys.executable, "-m", "replicated_proxy", *arguments, f"--kubeconfig={account}"],
            env={"POD_NAMESPACE": NAMESPACE},
            capture_output=True,
            text=True,
            check=False,
        )
        self._cluster.kubectl("delete", "--ignore-not-found", "-f", "-", input=yaml.safe_dump_all(objects))
        return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def _annotations(document: Json) -> Json:
    """Return an object's annotations."""
    annotations: Json = document["metadata"].get("annotations", {})
    return annotations


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of its own: these tests take the release out of it."""
    with ControlPlane() as plane:
        yield Cluster(plane, provide(["helm"])["helm"])


@pytest.fixture
def install(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., Installation]]:
    """Install the release with some values; afterwards nothing is left but the definitions."""
    made: list[Installation] = []

    def _install(values: Json | None = None) -> Installation:
        installation = Installation(cluster, tmp_path, values)
        made.append(installation)
        installation.install()
        return installation

    yield _install
    for installation in made:
        installation.uninstall()
    cluster.kubectl("delete", "licenses.kots.io,applications.kots.io", "--all", "--all-namespaces")
    for kind, name in _HOME:
        cluster.kubectl("delete", kind, name, "-n", NAMESPACE, "--ignore-not-found")


@pytest.fixture
def namespaces(cluster: Cluster) -> Namespaces:
    """Namespaces with names of the test's own; the control plane ends soon after."""
    return Namespaces(cluster)


Install = Callable[..., Installation]


def _await_content(cluster: Cluster, namespace: str, before: Json) -> Json:
    """Wait until a copy says something else than before."""

    def changed() -> Json | None:
        """Return the copy when it is another one."""
        found = cluster.secret(namespace)
        return found if found and content_of(found) != content_of(before) else None

    return wait_until(changed, what=f"the new license in {namespace}", seconds=20)


def test_a_reinstallation_knows_its_copies(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """Copies outlive the release, and the next one of its name goes on with them: the same objects, in place."""
    app, workers = namespaces.create("app", "workers")
    first = install()
    cluster.apply(a_license(app), an_application(app, workers))
    copies = {name: cluster.await_secret(name) for name in (app, workers)}

    first.uninstall()

    assert copies == {name: cluster.secret(name) for name in copies}
    cluster.apply(a_license(app, licenseID="the-next-license-id"))

    install()

    for name, before in copies.items():
        after = _await_content(cluster, name, before)
        assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_reinstallation_writes_nothing_anew(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """Where nothing changed meanwhile, the copies keep their version."""
    app, later = namespaces.create("app", "later")
    first = install()
    cluster.apply(a_license(app))
    before = cluster.await_secret(app)
    first.uninstall()

    install()
    cluster.apply(an_application(app, later))
    cluster.await_secret(later)

    assert cluster.secret(app) == before


def test_a_license_that_went_meanwhile_is_revoked(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """A License that was deleted while nothing ran takes its copies with it at the next installation."""
    app, workers, other = namespaces.create("app", "workers", "other")
    first = install()
    cluster.apply(a_license(app), an_application(app, workers), a_license(other))
    for name in (app, workers, other):
        cluster.await_secret(name)
    first.uninstall()
    cluster.kubectl("delete", "license", "my-app", "-n", app)

    install()

    for name in (app, workers):
        cluster.await_no_secret(name)
    assert cluster.secret(other)


def test_another_release_leaves_the_copies_alone(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """To a release of another name the copies are somebody else's: a conflict that it reports and does not touch."""
    app, free = namespaces.create("app", "free")
    first = install()
    cluster.apply(a_license(app))
    before = cluster.await_secret(app)
    first.uninstall()

    install(_ANOTHER)
    cluster.apply(an_application(app, free))
    cluster.await_secret(free)

    wait_until(
        lambda: cluster.condition("license", app, "my-app", "Synced").get("reason") == "Conflict",
        what="the conflict",
        seconds=20,
    )
    cluster.kubectl("delete", "license", "my-app", "-n", app)
    cluster.await_no_secret(free)
    assert cluster.secret(app) == before


def _leave_copy_of_another(cluster: Cluster, install: Install, namespace: str) -> None:
    """Leave a copy of another installation in a namespace, as its uninstallation does."""
    another = install(_ANOTHER)
    cluster.apply(a_license(namespace))
    cluster.await_secret(namespace)
    another.uninstall()
    cluster.kubectl("delete", "license", "my-app", "-n", namespace)


def test_a_clean_up_takes_ours_and_only_ours(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """Copies and home objects of this installation go; foreign ones and another installation's stay and are counted."""
    foreign, others = namespaces.create("foreign", "others")
    cluster.apply(foreign_secret(foreign))
    _leave_copy_of_another(cluster, install, others)
    kept = {name: cluster.secret(name) for name in (foreign, others)}
    app, workers = namespaces.create("app", "workers")
    release = install()
    cluster.apply(a_license(app), an_application(app, workers, foreign, others))
    for name in (app, workers):
        cluster.await_secret(name)
    release.uninstall()

    code, log = release.cleanup()

    assert code == 0, log
    for name in (app, workers):
        assert cluster.secret(name) == {}
    assert kept == {name: cluster.secret(name) for name in kept}
    for kind, name in _HOME:
        assert not cluster.exists(kind, name, "-n", NAMESPACE), name
    lines = {line["namespace"]: line["reason"] for line in log if line["message"] == "pull secret deleted"}
    reason = "the operator is uninstalled with cleanup.onUninstall"
    assert (lines[app], lines[workers]) == (reason, reason)
    left = cluster.get("secrets", "--all-namespaces", f"--field-selector=metadata.name={SECRET}")["items"]
    marked = [item for item in left if "app.kubernetes.io/managed-by" in item["metadata"].get("labels", {})]
    counted = (log[-1]["of_other_installations"], log[-1]["foreign"])
    assert counted == (len(marked), len(left) - len(marked))
    assert min(counted) > 0
    assert cluster.exists("license", "my-app", "-n", app), "Licenses are the customer's"

    code, log = release.cleanup()
    assert (code, log[-1]["deleted"], len(log)) == (0, 0, 1)


def test_home_objects_of_others_stay(cluster: Cluster, tmp_path: Path) -> None:
    """What carries one of our names and not our label was made by somebody else."""
    cluster.install()
    kinds = {"configmap": "v1", "secret": "v1", "lease": "coordination.k8s.io/v1"}
    for kind, name in _HOME:
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/managed-by": "somebody"}}
        cluster.apply(
            {"apiVersion": kinds[kind], "kind": kind.capitalize().replace("map", "Map"), "metadata": metadata}
        )

    code, log = Installation(cluster, tmp_path).cleanup()

    assert code == 0, log
    for kind, name in _HOME:
        cluster.kubectl("delete", kind, name, "-n", NAMESPACE)  # Fails where it is gone.


def test_a_clean_up_waits_for_the_controller(cluster: Cluster, namespaces: Namespaces, install: Install) -> None:
    """While a controller works, which would write all of it anew, nothing is deleted and the command fails."""
    [app] = namespaces.create("app")
    release = install(_LONG_LEASE)
    cluster.apply(a_license(app))
    before = cluster.await_secret(app)

    code, log = release.cleanup(seconds=8)

    assert code == 1
    assert "has to be stopped first" in log[-1]["message"]
    assert cluster.secret(app) == before


def test_a_clean_up_goes_on_after_a_killed_controller(
    cluster: Cluster, namespaces: Namespaces, install: Install
) -> None:
    """A controller that ended without a word is waited for until its Lease has run out."""
    [app] = namespaces.create("app")
    release = install()
    cluster.apply(a_license(app))
    cluster.await_secret(app)
    release.kill()
    release.uninstall()

    code, log = release.cleanup()

    assert code == 0, log
    assert cluster.secret(app) == {}


def test_helm_leaves_definitions_and_licenses(cluster: Cluster, namespaces: Namespaces) -> None:
    """`helm uninstall` takes policies, webhook and permissions; definitions, Licenses and copies stay for the next."""
    helm = [str(provide(["helm"])["helm"]), f"--kubeconfig={cluster.plane.kubeconfig}", f"--namespace={NAMESPACE}"]
    kinds = (
        "mutatingwebhookconfigurations,validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,"
        "clusterrolebindings"
    )
    [app] = namespaces.create("app")
    install = [*helm, "install", RELEASE, str(CHART), "--create-namespace", "--take-ownership"]
    run(install)
    assert cluster.kubectl("get", kinds, "-o", "name").count(NAMESPACE) == 10
    cluster.plane.await_kinds(*KINDS)
    cluster.apply(a_license(app))

    run([*helm, "uninstall", RELEASE])

    assert NAMESPACE not in cluster.kubectl("get", kinds, "-o", "name")
    assert cluster.exists("license", "my-app", "-n", app)
    run([word for word in install if word != "--take-ownership"])  # The definitions that stayed fit the release.
    run([*helm, "uninstall", RELEASE])
    cluster.kubectl("delete", "license", "my-app", "-n", app)


def test_the_hook_is_what_the_api_server_takes(cluster: Cluster, namespaces: Namespaces) -> None:
    """Every object of the hook is valid, and its Pod meets the restricted Pod Security level."""
    [home] = namespaces.create("restricted")
    cluster.kubectl("label", "namespace", home, "pod-security.kubernetes.io/enforce=restricted")
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={home}", "--timeout=120s")
    hooks = [document for document in cluster.render_all(_CLEANING) if _HOOK in _annotations(document)]
    (job,) = (document for document in hooks if document["kind"] == "Job")
    pod = copy.deepcopy(job["spec"]["template"])
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"] |= {"name": "cleanup"}
    pod["spec"]["serviceAccountName"] = "default"
    pods = [*hooks, pod]
    for document in pods:
        if "namespace" in document["metadata"]:
            document["metadata"]["namespace"] = home

    created = cluster.kubectl("create", "-n", home, "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(pods))

    assert created.count("created (server dry run)") == 8


def test_what_the_documentation_says_to_type_takes_ours(
    cluster: Cluster, namespaces: Namespaces, install: Install
) -> None:
    """The commands of docs/uninstalling.md delete this installation's copies, its objects at home, and no others."""
    app, foreign = namespaces.create("app", "foreign")
    release = install()
    cluster.apply(a_license(app), foreign_secret(foreign))
    cluster.await_secret(app)
    release.uninstall()

    program = f"{cluster.plane.binaries['kubectl']} --kubeconfig={cluster.plane.kubeconfig}"
    command = _commands_by_hand().replace("NAMESPACE/RELEASE", f"{NAMESPACE}/{RELEASE}").replace("NAMESPACE", NAMESPACE)
    run(["sh", "-ec", command.replace("kubectl delete", f"{program} delete")])

    assert cluster.secret(app) == {}
    assert cluster.secret(foreign)
    assert not any(cluster.exists(kind, name, "-n", NAMESPACE) for kind, name in _HOME)


def _commands_by_hand() -> str:
    """Return the last commands of docs/uninstalling.md."""
    page = (REPOSITORY / "docs/uninstalling.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", page, re.DOTALL)
    return blocks[-1]
