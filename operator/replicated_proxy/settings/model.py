"""The settings as frozen values: every key with its default and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from replicated_proxy.core.coverage import CoverageSettings
from replicated_proxy.core.hosts import HostOverrides
from replicated_proxy.core.images import parse_pattern
from replicated_proxy.core.licenses import ExpiryPolicy
from replicated_proxy.core.rewriting import Mode, RewritePolicy, WildcardScope
from replicated_proxy.core.routes import SYSTEM_NAMESPACES
from replicated_proxy.core.signatures import SignaturePolicy
from replicated_proxy.core.validity import ValidityPolicy
from replicated_proxy.settings.detecting import DetectionSettings


@dataclass(frozen=True, slots=True)
class SecretSource:
    """A Secret that holds a license, so that its credential stands in no License object."""

    namespace: str = ""
    """Where it is; counts as the License's own namespace."""
    name: str = ""
    """Its name."""
    key: str = ""
    """Data key: a license YAML, the Replicated SDK's `config.yaml`, or a `.dockerconfigjson`."""
    app_slug: str = ""
    """For a `.dockerconfigjson`, which does not say it; the Secret's own data key `appSlug` otherwise."""
    proxy_host: str = ""
    """Custom proxy domain: the entry of a `.dockerconfigjson` that counts beside Replicated's hosts."""
    namespaces: tuple[str, ...] = ()
    """More namespaces that it covers, as in `additionalNamespaces`."""


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where Licenses and Applications are honoured, and where licenses come from beside the License objects."""

    namespaces: tuple[str, ...] = ()
    """Namespaces whose Licenses and Applications count; empty means all."""
    secrets: tuple[SecretSource, ...] = ()
    """Secrets that hold a license: `namespace`, `name`, `key`; with `appSlug` where the content does not say it, and
    optionally `proxyHost` and `namespaces` (more namespaces to cover, `"*"` for all)."""
    missing_seconds: float = 300.0
    """How long such a Secret may be missing (replaced by a tool, say) before its license counts as deleted."""


@dataclass(frozen=True, slots=True)
class LicenseSettings:
    """When a License is used."""

    signature: SignaturePolicy = SignaturePolicy.WARN
    """`Off`, `Warn` (used whatever the signature says, and says so) or `Enforce` (used only with a genuine one)."""
    trusted_keys: Mapping[str, str] = field(default_factory=dict)
    """More global public keys: key ID to RSA public key in PEM. Replicated's production key is always trusted."""
    on_expiry: ExpiryPolicy = ExpiryPolicy.RETAIN
    """`Retain`: an expired License stays in use (the registry refuses new pulls). `Revoke`: its credentials go."""
    expiring_soon_days: int = 14
    """From how many days before its end a License says `ExpiringSoon`."""


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

    mode: Mode = Mode.PRIVATE
    """`private` (what cannot be pulled without a password, see `detection`), `all`, `listed` (only what `include`
    names) or `off` (pull secrets only)."""
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
        "OpenSearchCluster.opensearch.opster.io",
        "OpenSearchCluster.opensearch.org",
        "StrimziPodSet.core.strimzi.io",
    )
    """`Kind.group` of Pod owners that compare images and would recreate their Pods for ever."""
    excluded_labels: tuple[str, ...] = ("aerospike.com/cr", "application=spilo")
    """Likewise by a label of the Pods, `key` or `key=value`, where a StatefulSet stands between the controller and
    them."""


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
    lease_name: str = "replicated-proxy-controller"
    """Lease that the replicas contend for, in the operator's namespace; only its holder writes."""
    lease_seconds: float = 15.0
    """How long the holder may be silent before another replica takes over."""
    renew_seconds: float = 10.0
    """How long the holder goes on trying to renew before it stops writing; less than `leaseSeconds`."""
    retry_seconds: float = 2.0
    """Time between two renewals, or two looks at somebody else's Lease."""
    deletions_per_second: float = 20.0
    """Most pull secrets deleted in a second."""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """How the webhook serves."""

    port: int = 10250
    """HTTPS port. GKE lets the control plane of a private cluster reach nodes on 443 and 10250 only."""
    health_port: int = 8080
    """Plain HTTP port of /livez, /readyz and /metrics."""
    bind: str = "::"
    """Address to listen on; `::` takes IPv4 too."""
    client_ca_file: str = ""
    """PEM file of the authorities that callers' certificates have to come from; empty lets everybody ask."""
    client_names: tuple[str, ...] = ()
    """Names that such a certificate may carry, as common name or DNS name; empty takes any of these authorities."""
    drain_seconds: float = 10.0
    """After SIGTERM: go on serving, unready and with `Connection: close`, until endpoints have forgotten us."""
    shutdown_seconds: float = 10.0
    """Longest wait for reviews in flight after that."""
    service_name: str = "replicated-proxy-operator-webhook"
    """Service that the API server calls; the certificate is made for it."""
    configuration_name: str = "replicated-proxy-operator"
    """MutatingWebhookConfiguration that gets the CA bundle."""


class CertificateMode(Enum):
    """Who makes the serving certificate."""

    SELF_MANAGED = "SelfManaged"
    CERT_MANAGER = "CertManager"
    EXISTING_SECRET = "ExistingSecret"  # noqa: S105 - a word.


@dataclass(frozen=True, slots=True)
class CertificateSettings:
    """The serving certificate: who makes it, and how long it lasts where that is up to us."""

    mode: CertificateMode = CertificateMode.SELF_MANAGED
    """`SelfManaged` (the controller makes and renews it), `CertManager` (cert-manager does) or `ExistingSecret`
    (somebody keeps `servingSecret` with `tls.crt`, `tls.key` and `ca.crt`)."""
    ca_lifetime: timedelta = timedelta(days=3650)
    """Lifetime of the certificate authority; it gets its successor after two thirds of it."""
    leaf_lifetime: timedelta = timedelta(days=365)
    """Lifetime of the serving certificate; it is renewed after two thirds of it."""
    propagation_delay: timedelta = timedelta(minutes=2)
    """How long a new CA bundle stands in the webhook configuration before a serving certificate relies on it: API
    servers learn of it one after another. Self-managed certificates only."""
    ca_secret: str = "replicated-proxy-ca"  # noqa: S105 - the name of a Secret.
    """Secret of the authority; of the operator only the controller reads it, and only where it manages it."""
    serving_secret: str = "replicated-proxy-serving"  # noqa: S105 - the name of a Secret.
    """Secret of the serving certificate (`tls.crt`), its key (`tls.key`) and the authorities that the API server trusts
    (`ca.crt`)."""
    extra_names: tuple[str, ...] = ()
    """More DNS names for the serving certificate, where the API server calls the webhook by URL."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole of it."""

    sources: SourceSettings = SourceSettings()
    license: LicenseSettings = LicenseSettings()
    secret: SecretSettings = SecretSettings()
    proxy: ProxySettings = ProxySettings()
    rewrite: RewriteSettings = RewriteSettings()
    detection: DetectionSettings = DetectionSettings()
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
        names = frozenset(name for name in self.secret.excluded_namespaces if not is_glob(name))
        return CoverageSettings(
            secret_name=self.secret.name,
            excluded=SYSTEM_NAMESPACES | names | {self.namespace},
            excluded_globs=tuple(filter(is_glob, self.secret.excluded_namespaces)),
            hosts=HostOverrides(self.proxy.hosts, self.proxy.registry_hosts),
            validity=self.validity(),
        )

    def validity(self) -> ValidityPolicy:
        """Return the part that decides when a License is used."""
        return ValidityPolicy(
            signature=self.license.signature,
            on_expiry=self.license.on_expiry,
            expiring_soon=timedelta(days=self.license.expiring_soon_days),
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
            excluded_labels=tuple(
                (key, value) for key, _, value in (entry.partition("=") for entry in self.rewrite.excluded_labels)
            ),
        )


def is_glob(name: str) -> bool:
    """Tell a pattern from a name."""
    return "*" in name or "?" in name
