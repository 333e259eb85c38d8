"""A license that came out of a Secret, in the one form that everything after it reads: a License object's body.

Whoever may write that one Secret chooses a credential. Where it is used and which host it is sent to is the
administrator's to say, so reach and host stand beside the body, out of the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from replicated_proxy.core.hosts import DEFAULT_PROXY_HOST, default_hosts
from replicated_proxy.core.licenses import License
from replicated_proxy.core.objects import Body, quote

STAGING_ENDPOINT: Final = "staging.replicated.app"
_REPLICATED_PROXY_HOSTS: Final = frozenset({DEFAULT_PROXY_HOST, default_hosts(STAGING_ENDPOINT)[0]})


@dataclass(frozen=True, slots=True)
class LicenseDocument:
    """A license as a Secret gave it.

    Attributes:
        body: shaped like a License object; the metadata is the Secret's.
        namespaces: more namespaces that it covers, as in an Application's `additionalNamespaces`.
        key: which source it is: `namespace/secrets/name/data key`.
        proxy_host: custom proxy domain that the administrator allows; empty for Replicated's hosts only.
    """

    body: Body = field(repr=False)
    namespaces: tuple[str, ...]
    key: str
    proxy_host: str = ""


def document_key(namespace: str, name: str, data_key: str) -> str:
    """Tell sources apart; no License object has such a key, which is `namespace/name`."""
    return f"{namespace}/secrets/{name}/{data_key}"


def confine_hosts(lic: License, document: LicenseDocument) -> License:
    """Let the administrator choose the proxy host of a license that came out of a Secret.

    Not even a genuine signature settles it: it says that some vendor signed, and every vendor may have any domain.
    What is left out costs nothing but the name, since Replicated's own hosts stay valid beside custom domains.

    Args:
        lic: the license, as read from the spec that counts.
        document: what it was read from.
    """
    allowed = _REPLICATED_PROXY_HOSTS | {document.proxy_host}
    ignored = tuple(dict.fromkeys(domain for domain in lic.proxy_domains if domain not in allowed))
    chosen = tuple(domain for domain in lic.proxy_domains if domain in allowed)
    problems = tuple(
        f"replicatedProxyDomain {quote(domain)} has no effect: only proxyHost of the entry in settings.sources.secrets "
        "chooses a custom domain; set it there"
        for domain in ignored
    )
    return replace(
        lic,
        proxy_domains=(document.proxy_host,) if document.proxy_host else chosen,
        problems=lic.problems + problems,
    )
