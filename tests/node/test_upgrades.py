"""The life of a release while Pods are created without pause: uninstalled, installed, upgraded, rolled back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from demo.story import IMAGE, LICENSE_ID, PROXIED
from node.conftest import SLUG, Installed
from operating import a_license
from pod_stream import Outcome, PodStream, describe
from replicated_proxy.settings import InvalidSettings, parse_settings
from rig.errors import RigError
from rig.manifests import read_manifests
from rig.release import install_release, previous_chart, upgrade_release
from rig.roles import CHART, NAMESPACE, RELEASE
from rig.waiting import wait_until

pytestmark = pytest.mark.node
MISSED = (Outcome.UNCHANGED, Outcome.REFUSED, Outcome.UNREACHABLE)
_log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def pods(installed: Installed) -> Iterator[PodStream]:
    """Pods without pause in a licensed namespace, from the first of these tests to the last."""
    namespace = installed.create_namespace("upgrade")
    installed.apply(a_license(namespace, appSlug=SLUG, licenseID=LICENSE_ID))
    installed.await_secret(namespace)
    with PodStream(installed.node.kubeconfig, namespace, IMAGE, PROXIED) as pods:
        yield pods
    installed.kubectl("delete", "licenses.kots.io", "--all", "-n", namespace)
    installed.kubectl("delete", "namespace", namespace, "--wait=false")


def names(installed: Installed, kind: str, *options: str) -> set[str]:
    """Return the names of the release's objects of a kind."""
    found = installed.kubectl("get", kind, "-o", "name", "-l", f"app.kubernetes.io/instance={RELEASE}", *options)
    return set(found.split())


def has_bundle(installed: Installed) -> bool:
    """Tell whether the API server can verify the webhook: `helm install` may come back somewhat earlier."""
    configuration = installed.get("mutatingwebhookconfiguration", RELEASE)
    return all("caBundle" in webhook["clientConfig"] for webhook in configuration["webhooks"])


def earlier_chart(installed: Installed, folder: Path) -> Path:
    """Return the chart as it was before its last change, or as it is where that cannot be used.

    It cannot where the present program refuses its settings, or where a commit left a part of it behind.

    An image of that time would take its settings, but there is none: one cluster has one image at a time here.
    """
    chart = previous_chart(folder)
    try:
        manifests = read_manifests(installed.node.helm("template", RELEASE, str(chart), "--namespace", NAMESPACE))
        (settings,) = (
            item["data"]["settings.yaml"]
            for item in manifests
            if item["kind"] == "ConfigMap" and item["metadata"]["name"] == RELEASE
        )
        parse_settings(yaml.safe_load(settings), {"POD_NAMESPACE": NAMESPACE})
    except (InvalidSettings, RigError) as error:
        _log.info("the present chart stands for the previous one: %s", error)
        return CHART
    return chart


def replace(installed: Installed, pods: PodStream, act: Callable[[], object]) -> float:
    """Do something that replaces all Pods of the operator; returns when it began, once the old ones have ended."""
    old, begin = names(installed, "pods", "-n", NAMESPACE), time.monotonic()
    act()
    wait_until(lambda: not old & names(installed, "pods", "-n", NAMESPACE), what=f"the end of {old}", seconds=120)
    pods.await_more()
    return begin


def tell(what: str, pods: PodStream, begin: float) -> None:
    """Say what became of the Pods meanwhile, for docs/high-availability.md; shown by `-rP`."""
    _log.info("%s: %s", what, dict(pods.outcomes(begin)))


def test_uninstall_leaves_no_admission_behind(installed: Installed, pods: PodStream) -> None:
    """No Pod is refused while everything goes, and those that are created afterwards are unchanged."""
    begin = time.monotonic()
    installed.node.helm("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait", "--timeout", "3m")
    after = pods.await_more()
    tell("uninstall", pods, begin)

    assert describe(pods.creations(0, Outcome.REFUSED, Outcome.UNREACHABLE)) == []
    assert set(pods.outcomes(after)) == {Outcome.UNCHANGED}
    assert names(installed, "mutatingwebhookconfigurations,validatingadmissionpolicies") == set()


def test_install_refuses_no_pod(installed: Installed, pods: PodStream, tmp_path: Path) -> None:
    """Pods are unchanged until the certificate is published, and rewritten from then on."""
    begin = time.monotonic()
    install_release(installed.node, installed.node.operator_image(), earlier_chart(installed, tmp_path))
    wait_until(lambda: has_bundle(installed), what="the certificate to be published", seconds=60)
    after = pods.await_more()
    tell("install", pods, begin)

    assert describe(pods.creations(begin, Outcome.REFUSED, Outcome.UNREACHABLE)) == []
    assert describe(pods.creations(after, Outcome.UNCHANGED)) == []


def test_upgrade_from_the_previous_chart_misses_no_pod(installed: Installed, pods: PodStream) -> None:
    """From the chart before its last change to the present one, every Pod replaced, `Fail` from its first moment on."""
    image, values = installed.node.operator_image(), ("podAnnotations.upgraded=yes", "webhook.failurePolicy=Fail")
    begin = replace(installed, pods, lambda: upgrade_release(installed.node, image, *values))
    tell("upgrade", pods, begin)

    assert describe(pods.creations(begin, *MISSED)) == []


def test_rollback_misses_no_pod(installed: Installed, pods: PodStream) -> None:
    """Back to the previous chart, and forth again, which is how the other tests get their release back."""
    command = ["rollback", RELEASE, "1", "--namespace", NAMESPACE, "--wait", "--timeout", "3m"]
    begin = replace(installed, pods, lambda: installed.node.helm(*command))
    tell("rollback", pods, begin)
    upgrade_release(installed.node, installed.node.operator_image())

    assert describe(pods.creations(begin, *MISSED)) == []
