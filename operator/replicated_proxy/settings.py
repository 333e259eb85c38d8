"""Everything an administrator can set, as one frozen value.

The chart renders `settings.yaml` from its values; the few things that only a container knows come from the
environment. Every problem is reported at once, each naming the key, the value and the remedy.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

import yaml

from replicated_proxy.core.coverage import CoverageSettings
from replicated_proxy.core.hosts import HostOverrides
from replicated_proxy.core.images import is_registry_host, parse_pattern
from replicated_proxy.core.rewriting import Mode, RewritePolicy, WildcardScope
from replicated_proxy.core.routes import SYSTEM_NAMESPACES

_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
_WORDS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


class InvalidSettings(ValueError):
    """Settings that cannot be used; one line for each problem."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where Licenses and Applications are honoured."""

    namespaces: tuple[str, ...] = ()
    """Namespaces whose Licenses and Applications count; empty means all."""


@dataclass(frozen=True, slots=True)
class SecretSettings:
    """The pull secret and the namespaces that never get it."""

    name: str = "replicated-proxy-registry"
    """Name of the pull secret in every namespace."""
    excluded_namespaces: tuple[str, ...] = ()
    """Namespaces that no License reaches, beside the system's and the operator's own; `*` and `?` are globs."""
    create_namespaces: bool = False
    """Create a namespace that an Application lists and that does not exist, as KOTS does."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Hosts that beat what Licenses and Applications say, by application slug."""

    hosts: Mapping[str, str] = field(default_factory=dict)
    """Proxy host by application slug."""
    registry_hosts: Mapping[str, str] = field(default_factory=dict)
    """Replicated registry host by application slug."""


@dataclass(frozen=True, slots=True)
class RewriteSettings:
    """Which images are rewritten."""

    mode: Mode = Mode.ALL
    """`all`, `listed` (only what `include` names) or `off` (pull secrets only)."""
    include: tuple[str, ...] = ()
    """`host`, `host/path-prefix` or `*.host`."""
    exclude: tuple[str, ...] = ()
    """Likewise; never rewritten."""
    wildcard_scope: WildcardScope = WildcardScope.CLAIMED
    """`Claimed`: where only "*" covers, images that something names as the application's. `All`: every image."""
    canonical_names: bool = False
    """Write the upstream name in full (`docker.io/library/nginx`) instead of as written."""
    excluded_owners: tuple[str, ...] = (
        "AerospikeCluster.asdb.aerospike.com",
        "CatalogSource.operators.coreos.com",
        "Cluster.postgresql.cnpg.io",
        "NifiCluster.nifi.konpyutaika.com",
        "StrimziPodSet.core.strimzi.io",
    )
    """`Kind.group` of Pod owners that compare images and would recreate their Pods for ever."""


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """How the controller works."""

    concurrency: int = 8
    """Namespaces written to at the same time."""
    sweep_seconds: float = 600.0
    """Time between two complete listings that find what events missed."""
    retry_first_seconds: float = 1.0
    """Wait after the first failure in a namespace; doubled each time."""
    retry_longest_seconds: float = 300.0
    """Longest wait between two tries in a failing namespace."""
    health_port: int = 8080
    """Plain HTTP port of /livez, /readyz and /metrics."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """How the webhook serves."""

    port: int = 10250
    """HTTPS port. GKE lets the control plane of a private cluster reach nodes on 443 and 10250 only."""
    health_port: int = 8080
    """Plain HTTP port of /livez, /readyz and /metrics."""
    bind: str = "::"
    """Address to listen on; `::` takes IPv4 too."""
    drain_seconds: float = 10.0
    """After SIGTERM: go on serving, unready and with `Connection: close`, until endpoints have forgotten us."""
    shutdown_seconds: float = 10.0
    """Longest wait for reviews in flight after that."""
    service_name: str = "replicated-proxy-operator-webhook"
    """Service that the API server calls; the certificate is made for it."""
    configuration_name: str = "replicated-proxy-operator"
    """MutatingWebhookConfiguration that gets the CA bundle."""


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """The self-managed serving certificate."""

    ca_days: int = 3650
    """Lifetime of the certificate authority."""
    leaf_days: int = 365
    """Lifetime of the serving certificate."""
    ca_secret: str = "replicated-proxy-ca"  # noqa: S105 - the name of a Secret.
    """Secret of the authority; only the controller reads it."""
    serving_secret: str = "replicated-proxy-serving"  # noqa: S105 - the name of a Secret.
    """Secret of the serving certificate, its key and the bundle as published."""
    extra_names: tuple[str, ...] = ()
    """More DNS names for the serving certificate, where the API server calls the webhook by URL."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of it."""

    sources: SourceSettings = SourceSettings()
    secret: SecretSettings = SecretSettings()
    proxy: ProxySettings = ProxySettings()
    rewrite: RewriteSettings = RewriteSettings()
    controller: ControllerSettings = ControllerSettings()
    webhook: WebhookSettings = WebhookSettings()
    certificates: CertificateSettings = CertificateSettings()
    routes_config_map: str = "replicated-proxy-routes"
    """ConfigMap of the routing table, in the operator's namespace."""
    namespace: str = "replicated-proxy-operator"
    """The operator's own namespace (environment: POD_NAMESPACE)."""
    installation: str = "replicated-proxy-operator/replicated-proxy-operator"
    """Installation ID that marks what we own; release namespace and name, so that a reinstallation knows its copies."""
    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR (environment: LOG_LEVEL)."""

    def coverage(self) -> CoverageSettings:
        """Return the part that decides coverage."""
        names = frozenset(name for name in self.secret.excluded_namespaces if not _is_glob(name))
        return CoverageSettings(
            secret_name=self.secret.name,
            excluded=SYSTEM_NAMESPACES | names | {self.namespace},
            excluded_globs=tuple(filter(_is_glob, self.secret.excluded_namespaces)),
            hosts=HostOverrides(self.proxy.hosts, self.proxy.registry_hosts),
        )

    def policy(self) -> RewritePolicy:
        """Return the part that decides images."""
        return RewritePolicy(
            mode=self.rewrite.mode,
            include=tuple(map(parse_pattern, self.rewrite.include)),
            exclude=tuple(map(parse_pattern, self.rewrite.exclude)),
            wildcard_scope=self.rewrite.wildcard_scope,
            canonical_names=self.rewrite.canonical_names,
            excluded_owners=frozenset(self.rewrite.excluded_owners),
        )


def load_settings(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """Read the settings file and the environment.

    Raises:
        InvalidSettings: the file is no YAML mapping, or keys or values are wrong; all problems in one message.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(f"settings file {path} cannot be read: {error}") from error
    return parse_settings(document if document is not None else {}, environment)


def parse_settings(document: object, environment: Mapping[str, str]) -> Settings:
    """Turn a decoded settings document and the environment into settings.

    Raises:
        InvalidSettings: as for `load_settings`.
    """
    problems: list[str] = []
    settings: Settings | None = _read(Settings, document, "", problems)
    if settings is None:
        raise _invalid(problems)
    from_environment = {
        name: environment[variable]
        for name, variable in (("namespace", "POD_NAMESPACE"), ("log_level", "LOG_LEVEL"))
        if environment.get(variable)
    }
    settings = dataclasses.replace(settings, **from_environment)  # type: ignore[arg-type]  # both are text fields
    problems += _check(settings)
    if problems:
        raise _invalid(problems)
    return settings


def _invalid(problems: list[str]) -> InvalidSettings:
    """Put all problems into one error."""
    return InvalidSettings("invalid settings:\n" + "\n".join(f"  - {problem}" for problem in problems))


def _read(kind: Any, value: object, key: str, problems: list[str]) -> Any:
    """Read a value of an annotated type, noting every problem under its key."""
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _read_section(kind, value, key, problems)
    if origin is tuple:
        return _read_list(typing.get_args(kind)[0], value, key, problems)
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(value, key, problems)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _read_word(kind, value, key, problems)
    accepted = (int, float) if kind is float else (kind,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and kind is not bool):
        problems.append(f"{key}: {value!r} is not {_WORDS[kind]}")
        return None
    return value


def _read_section(kind: Any, value: object, key: str, problems: list[str]) -> Any:
    """Read a mapping into a dataclass; keys are written in camelCase."""
    if not isinstance(value, Mapping):
        problems.append(f"{key or 'settings'}: {value!r} is not a mapping of keys to values")
        return None
    hints = typing.get_type_hints(kind)
    known = {camel_case(item.name): item.name for item in dataclasses.fields(kind)}
    problems += [
        f"{_below(key, name)}: unknown key (value {written!r}); known here: {', '.join(known)}"
        for name, written in value.items()
        if name not in known
    ]
    read = {}
    for written, name in known.items():
        before = len(problems)
        item = _read(hints[name], value[written], _below(key, written), problems) if written in value else None
        if written in value and (len(problems) == before or dataclasses.is_dataclass(item)):
            read[name] = item  # What could not be read keeps its default, so that the rest is checked too.
    return kind(**read)


def _read_list(kind: Any, value: object, key: str, problems: list[str]) -> tuple[Any, ...]:
    """Read a list of one type."""
    if not isinstance(value, list):
        problems.append(f"{key}: {value!r} is not a list")
        return ()
    return tuple(_read(kind, item, f"{key}[{index}]", problems) for index, item in enumerate(value))


def _read_mapping(value: object, key: str, problems: list[str]) -> Mapping[str, str]:
    """Read a mapping of text to text."""
    if not isinstance(value, Mapping):
        problems.append(f"{key}: {value!r} is not a mapping")
        return {}
    return types.MappingProxyType(
        {str(name): _read(str, text, f"{key}.{name}", problems) for name, text in value.items()}
    )


def _read_word(kind: type[Enum], value: object, key: str, problems: list[str]) -> Enum | None:
    """Read one of a few words."""
    words = [member.value for member in kind]
    if value not in words:
        problems.append(f"{key}: {value!r} is not one of {', '.join(words)}")
        return None
    return kind(value)


def _check(settings: Settings) -> list[str]:
    """Check what types cannot say."""
    rewrite = settings.rewrite
    problems = [
        problem
        for name, entries in (("include", rewrite.include), ("exclude", rewrite.exclude))
        for entry in entries
        if (problem := _problem_of(parse_pattern, entry, f"rewrite.{name}"))
    ]
    problems += [
        f"proxy.{name}.{slug}: {host!r} is not a host: write it without scheme and path"
        for name, hosts in (("hosts", settings.proxy.hosts), ("registryHosts", settings.proxy.registry_hosts))
        for slug, host in hosts.items()
        if not is_registry_host(host)
    ]
    if settings.log_level not in _LOG_LEVELS:
        problems.append(f"logLevel: {settings.log_level!r} is not one of {', '.join(_LOG_LEVELS)}")
    if settings.controller.concurrency < 1:
        problems.append(f"controller.concurrency: {settings.controller.concurrency} is not 1 or more")
    return problems


def _problem_of(parse: Callable[[str], object], text: str, key: str) -> str:
    """Return what a parser has to say against a text."""
    try:
        parse(text)
    except ValueError as error:
        return f"{key}: {error}"
    return ""


def _below(key: str, name: object) -> str:
    """Write the key of something inside."""
    return f"{key}.{name}" if key else str(name)


def camel_case(name: str) -> str:
    """Write a field's name as the settings file does."""
    first, *others = name.split("_")
    return first + "".join(word.title() for word in others)


def _is_glob(name: str) -> bool:
    """Tell a pattern from a name."""
    return "*" in name or "?" in name
