"""Services, ServiceMonitors and dashboard: off unless wanted, and asking for what is really there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chart.helm_chart import NAMESPACE
from monitoring import (
    EVERYTHING,
    Known,
    Query,
    as_series,
    dashboard_of,
    overlapping,
    queries_of,
    read_queries,
    rules_of,
    unknown_in,
)
from pages.metrics import API_SERVER
from replicated_proxy.telemetry.metrics import Metrics
from rig.binaries import provide

if TYPE_CHECKING:
    from chart.helm_chart import Chart, Rendered

Json = dict[str, Any]
ROLES = ("controller", "webhook")
PROCESS = ("process_resident_memory_bytes", "process_cpu_seconds_total")


@pytest.fixture(scope="module")
def rendered(chart: Chart) -> Rendered:
    """The release with everything for Prometheus and Grafana."""
    return chart.objects(EVERYTHING)


@pytest.fixture(scope="module")
def queries(rendered: Rendered) -> list[Query]:
    """What alerts and dashboard ask for."""
    texts = [each["expr"] for each in rules_of(rendered.only("PrometheusRule"))]
    return read_queries(provide(["selectors"])["selectors"], texts + queries_of(dashboard(rendered)))


def dashboard(rendered: Rendered) -> Json:
    """Return the dashboard."""
    (found,) = (item for name, item in rendered.of_kind("ConfigMap").items() if name.endswith("-dashboard"))
    return dashboard_of(found)


def described() -> Known:
    """Return every metric that is described, by the names that queries use."""
    known: dict[str, dict[str, frozenset[str]]] = {name: {} for name in PROCESS}
    for each in Metrics().described:
        known |= as_series(each)
    for name, (names_of_labels, _) in API_SERVER.items():
        labels = dict.fromkeys(names_of_labels, frozenset[str]())
        known |= {name: labels, f"{name}_bucket": {**labels, "le": frozenset()}}
    return known


def test_nothing_is_there_unless_wanted(chart: Chart) -> None:
    """A plain installation has no object of prometheus-operator, no dashboard and no Service for metrics."""
    plain = chart.objects()

    assert not plain.of_kind("ServiceMonitor")
    assert not plain.of_kind("PrometheusRule")
    assert not any(
        name.endswith(("-metrics", "-dashboard")) for kind in ("Service", "ConfigMap") for name in plain.of_kind(kind)
    )


@pytest.mark.parametrize("role", ROLES)
def test_monitor_selects_one_service_that_selects_the_roles_pods(rendered: Rendered, role: str) -> None:
    """A ServiceMonitor finds its role's Service for metrics and no other, and that one the port that serves them."""
    (monitor,) = (item for name, item in rendered.of_kind("ServiceMonitor").items() if role in name)
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [item for item in rendered.of_kind("Service").values() if wanted <= item["metadata"]["labels"].items()]
    (service,) = services
    (deployment,) = (item for name, item in rendered.of_kind("Deployment").items() if role in name)
    pod = deployment["spec"]["template"]
    (endpoint,) = monitor["spec"]["endpoints"]
    (port,) = service["spec"]["ports"]

    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert service["spec"]["publishNotReadyAddresses"]
    assert endpoint["port"] == port["name"]
    assert {"name": port["targetPort"], "containerPort": port["port"]} in pod["spec"]["containers"][0]["ports"]


def test_services_come_without_an_operator(chart: Chart) -> None:
    """Whoever scrapes in another way gets the Services alone, annotated as wanted."""
    wanted = {"service": {"enabled": True, "annotations": {"prometheus.io/scrape": "true"}}}
    services = chart.objects({"monitoring": wanted}).of_kind("Service")
    metrics = {name: item for name, item in services.items() if name.endswith("-metrics")}

    assert len(metrics) == len(ROLES)
    assert all(item["metadata"]["annotations"]["prometheus.io/scrape"] == "true" for item in metrics.values())


def test_labels_and_intervals_are_the_administrators(chart: Chart) -> None:
    """What a Prometheus selects by, and how it scrapes, can be said for monitors, rules and dashboard."""
    release = {"release": "kube-prometheus-stack"}
    scraping = {"interval": "1m", "scrapeTimeout": "5s", "metricRelabelings": [{"action": "drop", "regex": "x"}]}
    wanted = {
        "serviceMonitor": {"enabled": True, "labels": release, **scraping},
        "prometheusRule": {"enabled": True, "labels": release, "alertLabels": {"team": "platform"}},
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Apps"}, "namespace": "grafana"},
    }
    objects = chart.objects({"monitoring": wanted})
    selected = [*objects.of_kind("ServiceMonitor").values(), objects.only("PrometheusRule")]
    (config_map,) = (item for name, item in objects.of_kind("ConfigMap").items() if name.endswith("-dashboard"))

    assert all(release.items() <= item["metadata"]["labels"].items() for item in selected)
    assert all(scraping.items() <= item["spec"]["endpoints"][0].items() for item in selected[:-1])
    assert {each["labels"]["team"] for each in rules_of(selected[-1])} == {"platform"}
    assert config_map["metadata"]["namespace"] == "grafana"
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "Apps"}


def test_alerts_are_left_out_linked_and_narrowed_as_wanted(chart: Chart) -> None:
    """An alert can be left out, linked to its runbook, and made to tell its series in another way."""
    wanted = {"enabled": True, "disabled": ["ReplicatedProxyNoLeader"], "runbookUrl": "https://docs.example/alerts"}
    values = {"monitoring": {"selector": 'kubernetes_namespace="x"', "prometheusRule": wanted}}
    rules = {each["alert"]: each for each in rules_of(chart.objects(values).only("PrometheusRule"))}
    down = rules["ReplicatedProxyWebhookDown"]

    assert "ReplicatedProxyNoLeader" not in rules
    assert down["annotations"]["runbook_url"] == "https://docs.example/alerts#replicatedproxywebhookdown"
    assert '{kubernetes_namespace="x",role="webhook"}' in down["expr"]
    assert "< 2" in rules["ReplicatedProxyWebhookDegraded"]["expr"]


@pytest.mark.parametrize(
    ("monitoring", "words"),
    [
        ({"prometheusRule": {"enabled": True, "disabled": ["NoLeader"]}}, ["NoLeader", "ReplicatedProxyNoLeader"]),
        ({"serviceMonitor": {"interval": "30"}}, ["serviceMonitor.interval", '"30"', "30s"]),
        ({"serviceMonitor": {"scrapeTimeout": "soon"}}, ["serviceMonitor.scrapeTimeout", "soon", "30s"]),
        ({"serviceMonitor": {"enable": True}}, ["serviceMonitor", "enable"]),
    ],
)
def test_wrong_values_are_refused_in_words(chart: Chart, monitoring: Json, words: list[str]) -> None:
    """What would change nothing, or break at the API server, is refused with the remedy."""
    refusal = chart.refusal({"monitoring": monitoring})

    assert all(word in refusal for word in words), refusal


def test_names_are_short_enough(chart: Chart) -> None:
    """A name of the greatest length leaves Services that the API server takes."""
    objects = chart.objects({"fullnameOverride": "a" * 52, **EVERYTHING})

    assert all(len(name) <= 63 for name in objects.of_kind("Service") if name.endswith("-metrics"))


def test_queries_ask_for_what_exists(queries: list[Query]) -> None:
    """Every metric, label and word of a label in alerts and dashboard is one that is described."""
    assert not unknown_in(queries, described())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("replicated_proxy_review_total", "replicated_proxy_review_total"),
        ('replicated_proxy_reviews_total{result="failed"}', "replicated_proxy_reviews_total{result}"),
        ('replicated_proxy_reviews_total{outcome=~"failed|lost"}', "replicated_proxy_reviews_total{outcome='lost'}"),
        ("sum by (reason) (replicated_proxy_reviews_total)", "by (reason)"),
    ],
)
def test_wrong_query_is_found(text: str, problem: str) -> None:
    """The look at queries sees wrong metrics, labels and words."""
    assert unknown_in(read_queries(provide(["selectors"])["selectors"], [text]), described()) == {problem}


def test_every_metric_of_ours_is_on_the_dashboard_or_in_an_alert(queries: list[Query]) -> None:
    """Nothing is exported that nobody looks at."""
    asked = {selector.metric.removesuffix("_bucket") for query in queries for selector in query.selectors}

    assert {each.name for each in Metrics().described} <= asked


def test_dashboard_is_whole(rendered: Rendered) -> None:
    """Panels have places and numbers of their own, and each says what it shows and asks for something."""
    found = dashboard(rendered)
    panels = [panel for panel in found["panels"] if panel["type"] != "row"]
    numbers = [panel["id"] for panel in found["panels"]]

    assert len(set(numbers)) == len(numbers)
    assert not overlapping(found["panels"])
    for panel in panels:
        assert panel["description"].endswith("."), panel["title"]
        assert panel["targets"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    assert {each["name"] for each in found["templating"]["list"]} == {"datasource", "namespace"}


def test_everything_is_linted_and_rendered_the_same_twice(chart: Chart) -> None:
    """With everything for Prometheus and Grafana too, helm's strict lint is content and two renders are equal."""
    done = chart.run("lint", "--strict", str(chart.folder), values=EVERYTHING)

    assert done.returncode == 0, done.stdout + done.stderr
    assert chart.template(EVERYTHING) == chart.template(EVERYTHING)
