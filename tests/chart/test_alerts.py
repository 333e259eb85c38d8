"""Alerts: correct by promtool, firing when they should, and each one explained."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from chart.alert_cases import CASES, AlertCase
from monitoring import EVERYTHING, alerts_in, rules_of
from rig.binaries import provide
from rig.cache import REPOSITORY

if TYPE_CHECKING:
    from chart.helm_chart import Chart

PAGE = REPOSITORY / "docs" / "alerts.md"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def rule(chart: Chart) -> Json:
    """The PrometheusRule that the chart renders."""
    return chart.objects(EVERYTHING).only("PrometheusRule")


@pytest.fixture(scope="module")
def rule_file(rule: Json, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The rules as Prometheus gets them, in a file of their own."""
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    path.write_text(json.dumps(rule["spec"]), encoding="utf-8")  # Every JSON text is YAML.
    return path


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    command = [str(provide(["promtool"])["promtool"]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the rig's.


def test_rules_are_correct(rule: Json, rule_file: Path) -> None:
    """Promtool finds expressions, templates and durations correct, and nothing said twice."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", str(rule_file))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules_of(rule))} rules found" in done.stdout


def test_wrong_rule_is_found(rule_file: Path, tmp_path: Path) -> None:
    """The check is one: promtool refuses an expression that is none."""
    wrong = tmp_path / "rules.yaml"
    wrong.write_text(rule_file.read_text(encoding="utf-8").replace("absent(", "absnt(", 1), encoding="utf-8")

    assert promtool("check", "rules", str(wrong)).returncode != 0


def as_test(word: str, case: AlertCase) -> Json:
    """Write a case in the form of `promtool test rules`: all that fires, and nothing else."""
    return {
        "name": word,
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "promql_expr_test": [
            {
                "expr": 'group by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{case.minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1} for alert in case.alerts],
            }
        ],
    }


def test_alerts_fire_when_they_should(rule_file: Path) -> None:
    """In each case exactly those alerts fire that it names, half an hour after something changed."""
    tests = [as_test(word, case) for word, case in CASES.items()]
    path = rule_file.with_name("tests.yaml")
    path.write_text(
        json.dumps({"rule_files": [rule_file.name], "evaluation_interval": "1m", "tests": tests}), encoding="utf-8"
    )

    done = promtool("test", "rules", str(path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_case(rule: Json) -> None:
    """Each alert fires in at least one case; in the healthy one it does not."""
    assert {alert for case in CASES.values() for alert in case.alerts} == {each["alert"] for each in rules_of(rule)}


def test_every_alert_is_explained(rule: Json) -> None:
    """The page has a section for each alert, with its severity, and none for others."""
    severities = {each["alert"]: each["labels"]["severity"] for each in rules_of(rule)}

    assert alerts_in(PAGE.read_text(encoding="utf-8")) == severities


def test_every_alert_says_what_it_is(rule: Json) -> None:
    """An alert has a summary in one sentence and says what to do, and names no runbook that nobody has."""
    for each in rules_of(rule):
        assert each["annotations"].keys() == {"summary", "description"}, each["alert"]
        assert each["annotations"]["summary"].endswith("."), each["alert"]
