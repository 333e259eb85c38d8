"""What the types of settings cannot say: ranges, names, patterns, and values that do not go together."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final

from replicated_proxy.core.applications import EVERY_NAMESPACE
from replicated_proxy.core.images import is_registry_host, parse_pattern
from replicated_proxy.core.leases import LONGEST_LEASE
from replicated_proxy.core.licenses import is_app_slug
from replicated_proxy.core.objects import is_namespace_name, is_object_name
from replicated_proxy.settings.checking_certificates import check_certificates
from replicated_proxy.settings.checking_detection import check_detection
from replicated_proxy.settings.model import SecretSource, Settings, is_glob

_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_GLOB: Final = re.compile(r"[a-z0-9*?](?:[a-z0-9*?-]{0,61}[a-z0-9*?])?", re.ASCII)
_POD_LABEL: Final = re.compile(r"([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9][\w.-]{0,62}(=[A-Za-z0-9][\w.-]{0,62})?", re.ASCII)
_DATA_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}", re.ASCII)
_LABEL: Final = "lower-case letters, digits and '-', at most 63, with a letter or digit at both ends"
_NAME: Final = "lower-case letters, digits, '-' and '.', at most 253, with a letter or digit at both ends of each part"
_LONGEST_SECONDS: Final = 31_536_000  # A year: beyond any use, and within what timers take.
_MOST_DAYS: Final = 36_500  # A century: dates end in the year 9999.


def check_settings(settings: Settings) -> list[str]:
    """Return every problem, each naming key, value and remedy."""
    checks: tuple[Callable[[Settings], Iterator[str]], ...] = (
        _check_rewriting,
        _check_hosts,
        lambda settings: check_detection(settings.detection),
        lambda settings: check_certificates(settings.certificates),
        _check_counts,
        _check_seconds,
        _check_pairs,
        _check_lease,
        _check_secret_sources,
        _check_object_names,
        _check_namespaces,
        _check_texts,
    )
    return [problem for check in checks for problem in check(settings)]


def _check_rewriting(settings: Settings) -> Iterator[str]:
    """Check the patterns of registries and repositories."""
    for name, entries in (("include", settings.rewrite.include), ("exclude", settings.rewrite.exclude)):
        for entry in entries:
            try:
                parse_pattern(entry)
            except ValueError as error:
                yield f"rewrite.{name}: {error}"
    for entry in settings.rewrite.excluded_labels:
        if not _POD_LABEL.fullmatch(entry):
            yield f"rewrite.excludedLabels: {entry!r} is no label: write key or key=value"


def _check_hosts(settings: Settings) -> Iterator[str]:
    """Check the hosts by application slug."""
    for name, hosts in (("hosts", settings.proxy.hosts), ("registryHosts", settings.proxy.registry_hosts)):
        for slug, host in hosts.items():
            if not is_registry_host(host):
                yield f"proxy.{name}.{slug}: {host!r} is not a host: write it without scheme and path"


def _check_counts(settings: Settings) -> Iterator[str]:
    """Check ports, days and the number of workers."""
    if settings.controller.concurrency < 1:
        yield f"controller.concurrency: {settings.controller.concurrency} is not 1 or more"
    if not 0 <= settings.license.expiring_soon_days <= _MOST_DAYS:
        yield f"license.expiringSoonDays: {settings.license.expiring_soon_days} is not 0 to {_MOST_DAYS} days"
    ports = {
        "controller.healthPort": settings.controller.health_port,
        "webhook.port": settings.webhook.port,
        "webhook.healthPort": settings.webhook.health_port,
    }
    yield from (f"{key}: {port} is no port: write 1 to 65535" for key, port in ports.items() if not 0 < port < 65_536)


def _check_seconds(settings: Settings) -> Iterator[str]:
    """Check times; two may be nothing. `.nan` is refused too, since it compares with no number."""
    controller, webhook = settings.controller, settings.webhook
    waits = {
        "controller.sweepSeconds": controller.sweep_seconds,
        "controller.retryFirstSeconds": controller.retry_first_seconds,
        "controller.retryLongestSeconds": controller.retry_longest_seconds,
        "controller.leaseSeconds": controller.lease_seconds,
        "controller.renewSeconds": controller.renew_seconds,
        "controller.retrySeconds": controller.retry_seconds,
    }
    pauses = {
        "webhook.drainSeconds": webhook.drain_seconds,
        "webhook.shutdownSeconds": webhook.shutdown_seconds,
        "sources.missingSeconds": settings.sources.missing_seconds,
    }
    if not controller.deletions_per_second > 0:
        yield f"controller.deletionsPerSecond: {controller.deletions_per_second} is not more than 0"
    for key, seconds in waits.items():
        if not 0 < seconds <= _LONGEST_SECONDS:
            yield f"{key}: {seconds} is out of range: write more than 0 and at most {_LONGEST_SECONDS} seconds"
    for key, seconds in pauses.items():
        if not 0 <= seconds <= _LONGEST_SECONDS:
            yield f"{key}: {seconds} is out of range: write 0 to {_LONGEST_SECONDS} seconds"


def _check_pairs(settings: Settings) -> Iterator[str]:
    """Check values that must differ, or come in an order; one that is out of its range is told as that only."""
    controller, webhook, certificates = settings.controller, settings.webhook, settings.certificates
    if webhook.port == webhook.health_port:
        yield f"webhook.healthPort: {webhook.health_port} is webhook.port too: choose another port"
    if 0 < controller.retry_longest_seconds < controller.retry_first_seconds <= _LONGEST_SECONDS:
        yield (
            f"controller.retryLongestSeconds: {controller.retry_longest_seconds} is less than "
            f"controller.retryFirstSeconds ({controller.retry_first_seconds}): write that or more"
        )
    taken = {settings.secret.name: "secret.name"}
    for key, name in (("caSecret", certificates.ca_secret), ("servingSecret", certificates.serving_secret)):
        if name in taken:
            yield f"certificates.{key}: {name!r} is {taken[name]} too: choose another name"
        taken[name] = f"certificates.{key}"


def _check_lease(settings: Settings) -> Iterator[str]:
    """Check that a holder has tries left before it stops writing, and stops before another one takes over."""
    controller = settings.controller
    if not controller.retry_seconds < controller.renew_seconds:
        yield (
            f"controller.retrySeconds: {controller.retry_seconds} is not less than controller.renewSeconds "
            f"({controller.renew_seconds}): leave room for a second try"
        )
    if not controller.renew_seconds < controller.lease_seconds:
        yield (
            f"controller.renewSeconds: {controller.renew_seconds} is not less than controller.leaseSeconds "
            f"({controller.lease_seconds}): the holder has to stop before another replica starts"
        )
    # The Lease holds whole seconds (coordination.k8s.io/v1 leaseDurationSeconds).
    if controller.lease_seconds < 1 or controller.lease_seconds != int(controller.lease_seconds):
        yield f"controller.leaseSeconds: {controller.lease_seconds} is not a whole number of seconds, 1 or more"
    if LONGEST_LEASE < controller.lease_seconds <= _LONGEST_SECONDS:
        yield f"controller.leaseSeconds: {controller.lease_seconds} is more than others believe: write at most 3600"


def _check_secret_sources(settings: Settings) -> Iterator[str]:
    """Check which Secrets hold licenses; the name of our copies is taken."""
    seen: set[tuple[str, str, str]] = set()
    for index, source in enumerate(settings.sources.secrets):
        key = f"sources.secrets[{index}]"
        yield from (f"{key}.{problem}" for problem in _find_source_problems(source))
        if source.name == settings.secret.name:
            yield f"{key}.name: {source.name!r} is secret.name too, the name of the copies: choose another name"
        if (source.namespace, source.name, source.key) in seen:
            yield f"{key}: the same namespace, name and key stand here twice: remove one"
        seen.add((source.namespace, source.name, source.key))


def _find_source_problems(source: SecretSource) -> Iterator[str]:
    """Check one Secret that holds a license by itself."""
    if not is_namespace_name(source.namespace):
        yield f"namespace: {source.namespace!r} is no namespace name: write {_LABEL}"
    if not is_object_name(source.name):
        yield f"name: {source.name!r} is no object name: write {_NAME}"
    if _DATA_KEY.fullmatch(source.key) is None:
        yield f"key: {source.key!r} is no key of a Secret: write letters, digits, '-', '_' and '.'"
    if source.proxy_host and not is_registry_host(source.proxy_host):
        yield f"proxyHost: {source.proxy_host!r} is not a host: write it without scheme and path"
    if source.app_slug and not is_app_slug(source.app_slug):
        yield f"appSlug: {source.app_slug!r} is no application slug: write it as the vendor portal does"
    for place, name in enumerate(source.namespaces):
        if name != EVERY_NAMESPACE and not is_namespace_name(name):
            yield f'namespaces[{place}]: {name!r} is no namespace name: write {_LABEL}, or "*" for all'


def _check_object_names(settings: Settings) -> Iterator[str]:
    """Check names that objects are to have, and names in certificates."""
    names = [
        ("secret.name", settings.secret.name),
        ("certificates.caSecret", settings.certificates.ca_secret),
        ("certificates.servingSecret", settings.certificates.serving_secret),
        ("webhook.configurationName", settings.webhook.configuration_name),
        ("routesConfigMap", settings.routes_config_map),
        ("controller.leaseName", settings.controller.lease_name),
    ]
    yield from (f"{key}: {name!r} is no object name: write {_NAME}" for key, name in names if not is_object_name(name))
    if not is_namespace_name(settings.webhook.service_name):  # Services are named by the stricter rule.
        yield f"webhook.serviceName: {settings.webhook.service_name!r} is no Service name: write {_LABEL}"
    for index, name in enumerate(settings.certificates.extra_names):
        if not (is_object_name(name) or _is_address(name)):
            yield f"certificates.extraNames[{index}]: {name!r} is no DNS name or IP address: write {_NAME}"


def _check_namespaces(settings: Settings) -> Iterator[str]:
    """Check names and patterns of namespaces."""
    names = [("namespace", settings.namespace)]
    names += [(f"sources.namespaces[{index}]", name) for index, name in enumerate(settings.sources.namespaces)]
    for index, name in enumerate(settings.secret.excluded_namespaces):
        key = f"secret.excludedNamespaces[{index}]"
        if not is_glob(name):
            names.append((key, name))
        elif _GLOB.fullmatch(name) is None:
            yield f"{key}: {name!r} matches no namespace name: write {_LABEL}, and * or ? for any"
    yield from (
        f"{key}: {name!r} is no namespace name: write {_LABEL}" for key, name in names if not is_namespace_name(name)
    )


def _check_texts(settings: Settings) -> Iterator[str]:
    """Check the rest."""
    if not settings.installation:
        yield "installation: '' marks nothing as ours: write release namespace and name, or leave the key out"
    if settings.log_level not in _LOG_LEVELS:
        yield f"logLevel: {settings.log_level!r} is not one of {', '.join(_LOG_LEVELS)}"
    if settings.webhook.client_names and not settings.webhook.client_ca_file:
        names = list(settings.webhook.client_names)
        yield f"webhook.clientNames: {names} mean nothing without webhook.clientCaFile: set that as well"


def _is_address(text: str) -> bool:
    """Tell whether the text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
