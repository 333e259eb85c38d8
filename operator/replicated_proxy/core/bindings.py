"""Which Application belongs to which License.

The rules of KOTS's one License for each namespace, widened to several: a label names the License, and nobody's
credential is spread by a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from replicated_proxy.core.applications import APP_SLUG_LABEL, Application
from replicated_proxy.core.licenses import License


@dataclass(frozen=True, slots=True)
class Bindings:
    """Which Application belongs to which License.

    Attributes:
        by_license: License UID to its Applications, oldest first.
        problems: Application UID to why it is bound to none.
        notes: Application UID to what of it has no effect although it is bound.
    """

    by_license: Mapping[str, tuple[Application, ...]]
    problems: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)


def bind_applications(
    licenses: Sequence[License], applications: Iterable[Application], *, heed_domains: bool = True
) -> Bindings:
    """Bind each Application to the Licenses of its namespace.

    A label `kots.io/app-slug` names the License. Without it an Application binds to every License there, but one
    that reaches beyond its namespace only to the only one: nobody's credential is spread by a guess.

    Args:
        licenses: those that count.
        applications: likewise.
        heed_domains: whether the custom domains of Applications count; they are not signed.
    """
    bound: dict[str, list[Application]] = {lic.identity.uid: [] for lic in licenses}
    problems: dict[str, str] = {}
    for application in sorted(applications, key=lambda item: item.identity.age_key):
        candidates = _candidates(licenses, application)
        if application.reaches_beyond and not application.app_slug and len(candidates) > 1:
            slugs = ", ".join(sorted({lic.app_slug for lic in candidates}))
            problems[application.identity.uid] = (
                f"reaches beyond its namespace, where several Licenses are ({slugs}): "
                f"name one by the label {APP_SLUG_LABEL}"
            )
            continue
        if not candidates:
            problems[application.identity.uid] = _why_unbound(application)
        for lic in candidates:
            bound[lic.identity.uid].append(application)
    by_license = {uid: tuple(items) for uid, items in bound.items()}
    notes = _note_overridden_hosts(by_license.values()) if heed_domains else _note_unsigned_hosts(by_license.values())
    return Bindings(by_license, problems, notes)


def _note_unsigned_hosts(groups: Iterable[Sequence[Application]]) -> Mapping[str, str]:
    """Say which Applications name a host while only signed ones count."""
    text = (
        "proxyRegistryDomain and replicatedRegistryDomain have no effect: with license.signature Enforce hosts come "
        "from settings and signed Licenses only"
    )
    return {
        item.identity.uid: text
        for applications in groups
        for item in applications
        if item.proxy_domain or item.registry_domain
    }


def _note_overridden_hosts(groups: Iterable[Sequence[Application]]) -> Mapping[str, str]:
    """Say which Applications name another host than an older one that is bound to the same License."""
    notes: dict[str, dict[str, None]] = {}
    for applications in groups:
        for key, attribute in (
            ("proxyRegistryDomain", "proxy_domain"),
            ("replicatedRegistryDomain", "registry_domain"),
        ):
            named = [(item, host) for item in applications if (host := getattr(item, attribute))]
            for item, host in named[1:]:
                winner, effective = named[0]
                if host != effective:
                    text = (
                        f"{key} {host!r} has no effect: the older Application {winner.identity.name!r} "
                        f"says {effective!r}; let them agree"
                    )
                    notes.setdefault(item.identity.uid, {})[text] = None
    return {uid: "; ".join(texts) for uid, texts in notes.items()}


def _candidates(licenses: Sequence[License], application: Application) -> list[License]:
    """Return the Licenses of the Application's namespace that its label allows."""
    return [
        lic
        for lic in licenses
        if lic.identity.namespace == application.identity.namespace and application.app_slug in {"", lic.app_slug}
    ]


def _why_unbound(application: Application) -> str:
    """Say what is missing for an Application to have an effect."""
    if application.app_slug:
        return f"no License of application {application.app_slug!r} in this namespace"
    return "no License in this namespace"
