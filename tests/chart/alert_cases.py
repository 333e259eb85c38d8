"""What each alert fires on, and what it does not fire on: a healthy release, and what is different in each case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chart.helm_chart import NAMESPACE

Series = Mapping[str, str]
_OURS: Final = 'name="pods.proxy.kots.io"'
_LATENCY: Final = f"apiserver_admission_webhook_admission_duration_seconds_bucket{{{_OURS},"
_REJECTED: Final = f"apiserver_admission_webhook_rejection_count{{{_OURS},"
_FAIL_OPEN: Final = f"apiserver_admission_webhook_fail_open_count{{{_OURS}}}"
_CONDITION: Final = f"apiserver_admission_match_condition_evaluation_errors_total{{{_OURS}}}"
_READY: Final = 'ready{pod="webhook-%s",role="webhook"}'
_READY_CONTROLLER: Final = 'ready{pod="controller-0",role="controller"}'
_LEADER: Final = 'leader{pod="controller-%s"}'
_BEGIN: Final = 'certificate_not_before_timestamp_seconds{certificate="%s",pod="%s"}'
_END: Final = 'certificate_not_after_timestamp_seconds{certificate="%s",pod="%s"}'
_REFUSED: Final = 'requests_refused_total{pod="webhook-0",reason="%s"}'
_WAITS: Final = 'detection_waits_total{pod="webhook-0",result="%s"}'
_PROBES: Final = 'detection_probes_total{cause="",outcome="%s",pod="webhook-0"}'
_VERDICTS: Final = 'verdict_collections_total{pod="controller-0",result="%s"}'
_LICENSES: Final = 'licenses{expiry="%s",pod="controller-0"}'
_FAILURES: Final = 'failures{pod="controller-0",reason="Forbidden"}'
_OLDEST: Final = 'oldest_unsynced_seconds{pod="controller-0"}'
_CONFLICTS: Final = 'conflicts{pod="controller-0"}'
_WATCH: Final = 'watch_age_seconds{kind="secrets",pod="controller-0"}'
_SWEEP: Final = 'sweep_corrections_total{pod="controller-0"}'
_REPEATED: Final = 'repeated_pods_total{pod="webhook-0"}'
_FAILED: Final = 'reviews_total{dry_run="false",outcome="failed",pod="webhook-0"}'
_OUTDATED: Final = 'routing_table_outdated{pod="webhook-0"}'
_BUNDLE: Final = 'ca_bundle_out_of_sync{pod="controller-0"}'
_SECRET: Final = 'serving_secret_refused{pod="webhook-0"}'
_AUTHORITY: Final = ("ca", "controller-0")
_SERVING: Final = ("serving", "webhook-0")

# Prometheus's tests begin at the time 0, so certificates began before: they are good for 100 minutes from -40 on.
_HEALTHY: Final[Series] = {
    **{_READY % number: "1x60" for number in (0, 1)},
    _READY_CONTROLLER: "1x60",
    _LEADER % 0: "1x60",
    _LEADER % 1: "0x60",
    **{_BEGIN % which: "-2400x60" for which in (_AUTHORITY, _SERVING)},
    **{_END % which: "3600x60" for which in (_AUTHORITY, _SERVING)},
    **{_REFUSED % reason: "0x60" for reason in ("overloaded", "draining", "tls")},
    _WAITS % "answered": "0+10x60",
    _WAITS % "deadline": "0x60",
    _PROBES % "private": "0+10x60",
    **{_PROBES % outcome: "0x60" for outcome in ("failed", "held-back")},
    _VERDICTS % "unchanged": "0+4x60",
    _VERDICTS % "failed": "0x60",
    _LICENSES % "NotExpired": "3x60",
    **{_LICENSES % word: "0x60" for word in ("ExpiringSoon", "Retained", "Revoked", "InvalidExpiry")},
    **dict.fromkeys((_FAILURES, _CONFLICTS, _OLDEST, _SWEEP, _REPEATED, _FAILED, _OUTDATED, _BUNDLE, _SECRET), "0x60"),
    _WATCH: "30x60",
    f'{_LATENCY}le="1"}}': "0+100x60",
    f'{_LATENCY}le="2.5"}}': "0+100x60",
    f'{_LATENCY}le="+Inf"}}': "0+100x60",
    f'{_REJECTED}error_type="no_error"}}': "0+1x60",
    f'{_REJECTED}error_type="calling_webhook_error"}}': "0x60",
    f'{_REJECTED}error_type="apiserver_internal_error"}}': "0x60",
    _FAIL_OPEN: "0x60",
    _CONDITION: "0x60",
}


@dataclass(frozen=True, slots=True)
class AlertCase:
    """A difference from a healthy release, and what fires half an hour later.

    Attributes:
        alerts: all that fires, sorted; empty where nothing may.
        differs: series that are other than in a healthy release; an empty text leaves one out.
        minute: when to look.
    """

    alerts: tuple[str, ...]
    differs: Series = field(default_factory=dict)
    minute: int = 30

    @property
    def series(self) -> dict[str, str]:
        """Return every series in full, with its values."""
        given = {**_HEALTHY, **self.differs}
        return {_in_full(name): values for name, values in given.items() if values}


def _in_full(name: str) -> str:
    """Write a series of ours as Prometheus stores it."""
    if name.startswith("apiserver_"):
        return name
    return f"replicated_proxy_{name}".replace("{", f'{{namespace="{NAMESPACE}",', 1)


def _p(name: str) -> str:
    """Return an alert's full name."""
    return f"ReplicatedProxy{name}"


def _quiet(differs: Series, minute: int = 30) -> AlertCase:
    """Say that nothing fires."""
    return AlertCase((), differs, minute)


def _fires(*alerts: str, of: Series, minute: int = 30) -> AlertCase:
    """Say what fires."""
    return AlertCase(tuple(sorted(map(_p, alerts))), of, minute)


CASES: Final = {
    "healthy": _quiet({}),
    "nobody-is-scraped": _fires("WebhookDown", of={_READY % 0: "", _READY % 1: ""}, minute=10),
    "no-replica-is-ready": _fires("WebhookDown", "WebhookDegraded", of={_READY % 0: "0x60", _READY % 1: "0x60"}),
    "no-replica-was-ready-for-a-moment": _quiet({_READY % 0: "1x20 0x3 1x40", _READY % 1: "1x20 0x3 1x40"}),
    "one-replica-of-two": _fires("WebhookDegraded", of={_READY % 1: ""}),
    "one-replica-of-two-during-a-roll-out": _quiet({_READY % 1: "1x15 0x10 1x40"}),
    "pods-created-unchanged": _fires("ReviewsUnanswered", of={_FAIL_OPEN: "0x25 1x40"}),
    "pods-created-unchanged-long-ago": _quiet({_FAIL_OPEN: "0x5 7x60"}),
    "pods-refused": _fires("PodsRefused", of={f'{_REJECTED}error_type="calling_webhook_error"}}': "0+1x60"}),
    "answers-unusable": _fires("AnswerUnusable", of={f'{_REJECTED}error_type="apiserver_internal_error"}}': "0+1x60"}),
    "condition-fails": _fires("MatchConditionFails", of={_CONDITION: "0+1x60"}),
    "others-webhooks-fail": _quiet(
        {
            'apiserver_admission_webhook_fail_open_count{name="others"}': "0+9x60",
            'apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="others"}': "0+9x60",
            'apiserver_admission_match_condition_evaluation_errors_total{name="others"}': "0+9x60",
        }
    ),
    "two-in-a-hundred-take-longer": _fires("ReviewsSlow", of={f'{_LATENCY}le="1"}}': "0+98x60"}),
    "one-in-two-hundred-takes-longer": _quiet({f'{_LATENCY}le="1"}}': "0+99.5x60"}),
    "mistake-of-ours": _fires("ReviewsFail", of={_FAILED: "0x25 1x40"}),
    "sent-away": _fires("Overloaded", of={_REFUSED % "overloaded": "0+30x60"}),
    "sent-away-for-a-moment": _quiet({_REFUSED % "overloaded": "0x10 30x60"}),
    "draining": _quiet({_REFUSED % "draining": "0+600x60"}),
    "scanned": _fires("PortMisused", of={_REFUSED % "tls": "0+120x60"}),
    "scanned-slowly": _quiet({_REFUSED % "tls": "0+30x60"}),
    "recreated": _fires("PodsRepeated", of={_REPEATED: "0+5x60"}),
    "table-outdated": _fires("TableOutdated", of={_OUTDATED: "1x60"}),
    "table-outdated-for-a-moment": _quiet({_OUTDATED: "0x10 1x5 0x60"}),
    "registries-slow": _fires("RegistriesSlow", of={_WAITS % "deadline": "0+11x60"}),
    "some-registries-slow": _quiet({_WAITS % "deadline": "0+9x60"}),
    "registries-unreachable": _fires("RegistriesUnreachable", of={_PROBES % "failed": "0+11x60"}),
    "nobody-asks-registries": _quiet({_PROBES % "private": "10x60", _WAITS % "answered": "10x60"}),
    "held-back": _fires("QuestionsHeldBack", of={_PROBES % "held-back": "0+1x60"}),
    "nobody-leads": _fires("NoLeader", of={_LEADER % 0: "0x60"}),
    "no-controller": _fires("NoLeader", of={_LEADER % 0: "", _LEADER % 1: ""}),
    "nobody-led-for-a-moment": _quiet({_LEADER % 0: "1x20 0x4 1x60"}),
    "another-one-leads": _quiet({_LEADER % 0: "1x20 0x60", _LEADER % 1: "0x21 1x60"}),
    "controller-not-ready": _fires("ControllerNotReady", of={_READY_CONTROLLER: "0x60"}),
    "secrets-failing": _fires("SecretsFailing", of={_FAILURES: "2x60", _OLDEST: "0+60x60"}),
    "secrets-failing-for-a-moment": _quiet({_FAILURES: "0x20 2x5 0x60"}),
    "secrets-of-others": _fires("SecretConflicts", of={_CONFLICTS: "1x60"}),
    "stalled": _fires("SyncStalled", of={_OLDEST: "0+60x60"}),
    "busy": _quiet({_OLDEST: "240x60"}),
    "watch-silent": _fires("WatchSilent", of={_WATCH: "0+60x60"}),
    "watch-begun-anew": _quiet({_WATCH: "0+60x6 0+60x6 0+60x6 0+60x6 0+60x6"}),
    "events-missed": _fires("EventsMissed", of={_SWEEP: "0x20 2x60"}),
    "nothing-collected": _fires(
        "VerdictsNotCollected", of={_VERDICTS % "unchanged": "4x60", _VERDICTS % "failed": "0+4x60"}, minute=45
    ),
    "not-collected-from-one": _quiet({_VERDICTS % "failed": "0+4x60"}),
    "nobody-to-collect-from": _quiet({_VERDICTS % "unchanged": "4x60"}),
    "certificate-not-renewed": _fires("CertificateExpiring", of={_END % _SERVING: "1860x60"}),
    "certificate-expired": _fires("CertificateExpiring", "CertificateExpired", of={_END % _SERVING: "1500x60"}),
    "authority-not-replaced": _fires("AuthorityExpiring", of={_END % _AUTHORITY: "1860x60"}),
    "authority-replaced-by-another-leader": _quiet(
        {_BEGIN % ("ca", "old"): "-9000x60", _END % ("ca", "old"): "900x60"}
    ),
    "bundle-of-others": _fires("BundleOutOfSync", of={_BUNDLE: "1x60"}),
    "bundle-being-written": _quiet({_BUNDLE: "0x20 1x4 0x60"}),
    "serving-secret-damaged": _fires("ServingSecretRefused", of={_SECRET: "1x60"}),
    "license-ends-soon": _fires("LicenseExpiring", of={_LICENSES % "ExpiringSoon": "1x60"}),
    "license-retained": _fires("LicenseExpired", of={_LICENSES % "Retained": "1x60"}),
    "license-revoked": _fires("LicenseExpired", of={_LICENSES % "Revoked": "1x60"}),
    "license-unreadable": _fires("LicenseUnreadable", of={_LICENSES % "InvalidExpiry": "1x60"}),
}
"""Each case by a word for it."""
