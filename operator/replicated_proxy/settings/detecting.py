"""How registries are asked: the settings of mode `private`, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from replicated_proxy.core.visibility import OnError


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """How mode `private` finds out whether an image can be pulled without a password."""

    on_error: OnError = OnError.PRIVATE
    """What an image counts as whose registry gives no answer: `Private` (KOTS's rule) or `Public`."""
    deadline: float = 1.0
    """Seconds that a review waits for an answer that is not known yet, and never more than half of its own timeout."""
    probe_seconds: float = 10.0
    """How long a registry may take; the question goes on in the background after the review was answered."""
    public_seconds: float = 3600.0
    """How long "public" is good for; an older answer is used while it is asked anew."""
    private_seconds: float = 600.0
    """Likewise for "private"; shorter, since a package may be made public."""
    error_seconds: float = 60.0
    """Likewise for no answer."""
    assume: Mapping[str, str] = field(
        default_factory=lambda: {
            "*.dkr.ecr.*.amazonaws.com": "Private",
            "*.dkr.ecr.*.amazonaws.com.cn": "Private",
            "mcr.microsoft.com": "Public",
            "public.ecr.aws": "Public",
            "registry.k8s.io": "Public",
        }
    )
    """Registries that are not asked: `host` or `host/path-prefix` to `Public` or `Private`; a `*` stands for one label
    of the host."""
    allowed_networks: tuple[str, ...] = ()
    """Networks (CIDR) that may be asked although they are private, loopback or link-local."""
    internal_networks: tuple[str, ...] = ()
    """More networks that are never asked: Pods' and Services' where they have public addresses."""
    http_proxy: str = ""
    """Egress proxy, `http://host:port`. It resolves the names of registries, so only names are checked then."""
    ca_file: str = ""
    """PEM file of authorities that registries' certificates may come from, beside the system's."""
    most_verdicts: int = 10_000
    """Answers that a replica remembers; a namespace's share is a twentieth."""
    questions_per_second: float = 10.0
    """Questions to registries that a replica begins in a second, on average over half a minute; a fifth of them is a
    namespace's, and half those of all namespaces that nothing but `"*"` covers."""
    replicas_service: str = "replicated-proxy-operator-webhook-replicas.replicated-proxy-operator.svc"
    """DNS name of the headless Service whose addresses are the webhook's replicas: the controller collects their
    answers, so that they outlive the replicas."""
    collect_seconds: float = 15.0
    """Time between two collections."""
