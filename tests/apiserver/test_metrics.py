"""What both roles and the API server export when they are scraped, and what Prometheus would be asked to take up."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from admitting import IMAGE, WEBHOOK, a_pod
from monitoring import EVERYTHING, Known, as_series, dashboard_of, queries_of, read_queries, rules_of, unknown_in
from operating import LICENSE_ID, Cluster, a_license
from pages.metrics import API_SERVER
from replicated_proxy.telemetry.making import Exporter
from replicated_proxy.telemetry.metrics import Metrics
from rig.binaries import provide
from rig.controlplane import ControlPlane
from rig.errors import RigError
from rig.module_files import module_folder
from rig.roles import NAMESPACE, RELEASE, RoleProcess
from rig.waiting import wait_until

pytestmark = pytest.mark.apiserver
Json = dict[str, Any]
_HOME: Final = "metrics-app"
_UNKNOWN: Final = "registry.invalid/app:v1"
_DEFINITIONS: Final = "github.com/prometheus-operator/prometheus-operator"
_SERIES: Final = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_MONITORED: Final = ("ServiceMonitor", "PrometheusRule")
# quay.io's images are known to be private, so that no test asks it.
_VALUES: Final[Json] = {"settings": {"detection": {"assume": {"quay.io": "Private"}}}}


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one `/metrics` said."""

    text: str

    @property
    def series(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield name and labels of each series, as Prometheus stores them."""
        for name, labels in _SERIES.findall(self.text):
            yield name, dict(_LABEL.findall(labels))

    @property
    def known(self) -> Known:
        """Return each name with the labels that its series have."""
        found: dict[str, dict[str, frozenset[str]]] = {}
        for name, labels in self.series:
            found.setdefault(name, {}).update(dict.fromkeys(labels, frozenset()))
        return found


class Scraped:
    """Both roles after some Pods, and the API server after everything that can go wrong between it and us."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self._roles = {role: RoleProcess(role, cluster, folder, _VALUES) for role in Exporter}
        self._number = 0
        self.scrapes: dict[str, Scrape] = {}

    def run(self) -> None:
        """Bring everything about that is to be seen, and scrape."""
        self.cluster.kubectl("create", "namespace", _HOME)
        self.cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"--namespace={_HOME}", "--timeout=120s")
        self.cluster.apply(a_license(_HOME))
        for running in self._roles.values():
            running.start()
        self.cluster.await_secret(_HOME)
        controller, webhook = (self._roles[role] for role in (Exporter.CONTROLLER, Exporter.WEBHOOK))
        wait_until(lambda: "watch_age_seconds{" in controller.answer("/metrics"), what="the first look", seconds=60)
        wait_until(lambda: self._create() and "probes_total{" in webhook.answer("/metrics"), what="probes", seconds=60)
        for role, running in self._roles.items():
            self.scrapes[role] = Scrape(running.answer("/metrics"))
        webhook.stop()
        self._fail_in_every_way()
        self.scrapes["API server"] = Scrape(self.cluster.kubectl("get", "--raw", "/metrics"))

    def stop(self) -> None:
        """End both roles."""
        for running in self._roles.values():
            running.stop()

    def _create(self) -> bool:
        """Create a Pod; whether it was let in."""
        self._number += 1
        pod = a_pod(_HOME, IMAGE, _UNKNOWN, metadata={"name": f"pod-{self._number}", "namespace": _HOME})
        try:
            self.cluster.apply(pod)
        except RigError:
            return False
        return True

    def _fail_in_every_way(self) -> None:
        """Have the API server miss us, refuse because of us, and stumble over a condition."""
        self._configure([])
        wait_until(lambda: self._create() and "fail_open_count{" in self._counted(), what="a failure", seconds=60)
        self._configure([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Fail"}])
        wait_until(lambda: not self._create() and "rejection_count{" in self._counted(), what="a refusal", seconds=60)
        wrong = {"name": "wrong", "expression": "object.spec.nothing == 'like this'"}
        self._configure([{"op": "add", "path": "/webhooks/0/matchConditions/-", "value": wrong}])
        wait_until(lambda: not self._create() and "evaluation_errors_total{" in self._counted(), what="it", seconds=60)

    def _configure(self, operations: list[Json]) -> None:
        """Change our registration."""
        kind = "mutatingwebhookconfiguration"
        self.cluster.kubectl("patch", kind, RELEASE, "--type=json", f"--patch={json.dumps(operations)}")

    def _counted(self) -> str:
        """Return what the API server counts of our webhook."""
        lines = self.cluster.kubectl("get", "--raw", "/metrics").splitlines()
        return "\n".join(line for line in lines if line.startswith("apiserver_admission") and WEBHOOK in line)


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    """A control plane whose API server has met everything that it counts."""
    with ControlPlane() as plane:
        cluster = Cluster(plane, provide(["helm"])["helm"], webhook=True)
        cluster.install(_VALUES)
        scraped = Scraped(cluster, tmp_path_factory.mktemp("roles"))
        try:
            scraped.run()
            yield scraped
        finally:
            scraped.stop()


@pytest.mark.parametrize("role", Exporter)
def test_role_exports_what_is_described(scraped: Scraped, role: Exporter) -> None:
    """A scrape has exactly the described metrics of its role, with their labels and no other words in them."""
    ours = {
        name: labels
        for each in Metrics(role).described
        if role in each.roles
        for name, labels in as_series(each).items()
    }
    scrape = scraped.scrapes[role]
    known = {name: labels for name, labels in scrape.known.items() if name.startswith("replicated_proxy_")}
    words = {((name, label), word) for name, labels in scrape.series for label, word in labels.items()}

    assert known.keys() == ours.keys()
    for name, labels in ours.items():
        assert known[name].keys() == labels.keys(), name
        for label, known_words in labels.items():
            found = {word for place, word in words if place == (name, label)}
            assert not known_words or found <= known_words, name


@pytest.mark.parametrize("role", Exporter)
def test_role_that_is_ready_says_so(scraped: Scraped, role: Exporter) -> None:
    """A replica that answers its readiness probe shows that to Prometheus, by its role."""
    ready = [line for line in scraped.scrapes[role].text.splitlines() if line.startswith("replicated_proxy_ready")]

    assert ready == [f'replicated_proxy_ready{{role="{role}"}} 1.0']


def test_queries_ask_for_what_is_scraped(scraped: Scraped) -> None:
    """Every metric and label in alerts and dashboard is in a real scrape of the roles or of the API server."""
    documents = scraped.cluster.render_all(EVERYTHING)
    (rule,) = (item for item in documents if item["kind"] == "PrometheusRule")
    (config_map,) = (item for item in documents if item["metadata"]["name"].endswith("-dashboard"))
    texts = [each["expr"] for each in rules_of(rule)] + queries_of(dashboard_of(config_map))
    known = {name: labels for scrape in scraped.scrapes.values() for name, labels in scrape.known.items()}

    assert not unknown_in(read_queries(provide(["selectors"])["selectors"], texts), known)


@pytest.mark.parametrize("name", API_SERVER)
def test_api_server_counts_with_the_documented_labels(scraped: Scraped, name: str) -> None:
    """What the page says of the API server's own metrics is what it exports, for our webhook too."""
    known = scraped.scrapes["API server"].known
    labels, _ = API_SERVER[name]

    assert known.get(f"{name}_count", known.get(name, {})).keys() == set(labels)


def test_api_server_names_failures_as_alerts_do(scraped: Scraped) -> None:
    """A refusal because nobody answered has the `error_type` that alerts ask for."""
    refusals = [labels for name, labels in scraped.scrapes["API server"].series if name.endswith("rejection_count")]

    assert ("calling_webhook_error", WEBHOOK) in {(labels["error_type"], labels["name"]) for labels in refusals}


@pytest.mark.parametrize("role", Exporter)
def test_scrape_follows_prometheus_conventions(scraped: Scraped, role: Exporter) -> None:
    """Promtool reads a scrape and finds nothing to say against names, units and texts."""
    command = [str(provide(["promtool"])["promtool"]), "check", "metrics"]
    done = subprocess.run(command, input=scraped.scrapes[role].text, capture_output=True, text=True, check=False)  # noqa: S603 - the rig's.

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("role", Exporter)
def test_nothing_secret_is_exported(scraped: Scraped, role: Exporter) -> None:
    """A scrape names no license ID, namespace, image or registry."""
    text = scraped.scrapes[role].text

    assert text
    assert not [word for word in (LICENSE_ID, _HOME, "my-org", "registry.invalid") if word in text]


@pytest.fixture(scope="module")
def definitions(scraped: Scraped) -> Cluster:
    """The cluster with prometheus-operator's own definitions."""
    folder = module_folder("prometheus-operator", _DEFINITIONS) / "example" / "prometheus-operator-crd"
    for kind in _MONITORED:
        path = folder / f"monitoring.coreos.com_{kind.lower()}s.yaml"
        scraped.cluster.kubectl("apply", "--server-side", "-f", str(path))
        wait_until(partial(_is_served, scraped.cluster, f"{kind.lower()}s"), what=f"{kind} to be served", seconds=60)
    return scraped.cluster


def _is_served(cluster: Cluster, plural: str) -> bool:
    """Tell whether a kind of prometheus-operator can be used; at first its definition has no status at all."""
    conditions = cluster.get("crd", f"{plural}.monitoring.coreos.com").get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


@pytest.mark.parametrize("kind", _MONITORED)
def test_prometheus_operator_takes_our_objects(definitions: Cluster, kind: str) -> None:
    """The real definitions accept what the chart renders, without a field that they do not know."""
    objects = [item for item in definitions.render_all(EVERYTHING) if item["kind"] == kind]
    definitions.kubectl("apply", "--validate=strict", "-f", "-", input=yaml.safe_dump_all(objects))

    assert objects
    for each in objects:
        stored = definitions.get(kind, each["metadata"]["name"], f"--namespace={NAMESPACE}")
        assert stored["spec"] == each["spec"]


def test_api_server_takes_what_needs_no_operator(scraped: Scraped) -> None:
    """Services for metrics and the dashboard are accepted by strict validation."""
    objects = [
        item
        for item in scraped.cluster.render_all(EVERYTHING)
        if item["kind"] in {"Service", "ConfigMap"} and item["metadata"]["name"].endswith(("-metrics", "-dashboard"))
    ]
    said = scraped.cluster.kubectl(
        "apply", "--validate=strict", "--dry-run=server", "-f", "-", input=yaml.safe_dump_all(objects)
    )

    assert said.count("(server dry run)") == len(objects) == 3


def test_prometheus_operator_refuses_unknown_fields(definitions: Cluster) -> None:
    """The check is one: a field that does not exist is refused."""
    monitor = next(item for item in definitions.render_all(EVERYTHING) if item["kind"] == "ServiceMonitor")
    monitor["spec"]["endpoints"][0]["intervall"] = "30s"

    with pytest.raises(RigError, match="intervall"):
        definitions.kubectl("apply", "--validate=strict", "-f", "-", input=yaml.safe_dump(monitor))
