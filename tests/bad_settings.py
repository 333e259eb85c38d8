"""Settings that cannot be used: the program refuses each of them at its start, and the chart before that."""

from __future__ import annotations

import math
from typing import Any

PORTS = ("controller.healthPort", "webhook.port", "webhook.healthPort")
WAITS = ("controller.sweepSeconds", "controller.retryFirstSeconds", "controller.retryLongestSeconds")
PAUSES = ("webhook.drainSeconds", "webhook.shutdownSeconds")
LIFETIMES = ("certificates.caLifetime", "certificates.leafLifetime")
NAMES = (
    "secret.name",
    "certificates.caSecret",
    "certificates.servingSecret",
    "webhook.configurationName",
    "routesConfigMap",
)

ASKING = ("probeSeconds", "publicSeconds", "privateSeconds", "errorSeconds", "collectSeconds")
NETWORKS = ("allowedNetworks", "internalNetworks")
NO_NETWORKS = (
    *("10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "10.0.0.256", "010.0.0.0/8", "0.0.0.1/0", "intranet", "", "10.0.0.0/"),
    *("2001:db8::1/64", "fe90::/9", "::/129", "1::2::3", "1:2:3:4:5:6:7::8", "1:2:3", "12345::", "::ffff:10.0.0.0/100"),
)
NO_REGISTRIES = ("A_b", "*", "a*.example", "registry", "a.example:443", "a.example/A", "a..example", "[::1]", "")
NO_PROXIES = (
    *(
        "proxy:3128",
        "https://proxy:3128",
        "http://proxy",
        "http://proxy:65536",
        "http://a:b:80",
        "http://proxy:80/path",
    ),
    *("http://user:password@proxy:3128", "http://[1:2]:80", "http://:80", "http://proxy:80?a"),
)
SOURCE = {"namespace": "vault", "name": "acme", "key": "license.yaml"}
ODD_SOURCES: tuple[tuple[dict[str, Any], str], ...] = (
    *(({"namespace": name}, "no namespace name") for name in ("", "A_b", "a.b", "a" * 64)),
    *(({"name": name}, "no object name") for name in ("", "A_b", "a" * 254)),
    *(({"key": key}, "no key of a Secret") for key in ("", "a/b", "a" * 254)),
    *(({"proxyHost": host}, "not a host") for host in ("proxy", "https://a.example", "[abc]")),
    ({"appSlug": "My App"}, "no application slug"),
    *(({"namespaces": [name]}, "no namespace name") for name in ("", "team-*", "a" * 64)),
    ({"name": "replicated-proxy-registry"}, "choose another name"),
    ({"slug": "x"}, "unknown key"),
)

# The setting, what is written there, and words that the complaint must contain besides the value.
WRONG: list[tuple[str, Any, str]] = [
    ("secret.name", 5, "text"),
    ("secret.name", None, "text"),
    ("secret.createNamespaces", "yes", "true or false"),
    ("secret.createNamespaces", 1, "true or false"),
    ("secret.excludedNamespaces", "one", "list"),
    ("controller.concurrency", "8", "a whole number"),
    ("controller.concurrency", 8.5, "a whole number"),
    ("controller.concurrency", True, "a whole number"),
    ("controller.concurrency", 0, "1 or more"),
    ("controller.sweepSeconds", "10m", "a number"),
    ("controller.sweepSeconds", False, "a number"),
    ("rewrite.mode", "public", "private, all, listed, off"),
    *(("detection.questionsPerSecond", number, "more than 0") for number in (0, -1, math.nan, 1001)),
    ("webhook.clientNames", ["api-server"], "webhook.clientCaFile"),
    ("rewrite.mode", ["all"], "private, all, listed, off"),
    ("rewrite.wildcardScope", "all", "Claimed, All"),
    ("rewrite", "all", "mapping"),
    ("rewrite", None, "mapping"),
    ("proxy.hosts", ["proxy.acme.com"], "mapping"),
    ("proxy.hosts", {"my-app": 5}, "text"),
    ("proxy.hosts", {"my-app": "https://proxy.acme.com"}, "without scheme and path"),
    ("proxy.registryHosts", {"my-app": "reg.acme.com/"}, "without scheme and path"),
    ("rewrite.include", ["quay.io/*"], "host/path-prefix"),
    ("rewrite.exclude", ["https://quay.io"], "host/path-prefix"),
    ("rewrite.excludedLabels", ["=spilo"], "key=value"),
    ("rewrite.excludedLabels", ["application: spilo"], "key=value"),
    ("logLevel", "LOUD", "WARNING"),
    ("installation", "", "release namespace and name"),
    *((key, port, "1 to 65535") for key in PORTS for port in (-1, 0, 65_536)),
    *((key, seconds, "more than 0") for key in WAITS for seconds in (-1, 0, 0.0, 31_536_001, math.inf, math.nan)),
    *((key, seconds, "0 to 31536000") for key in PAUSES for seconds in (-1, -0.5, math.inf, math.nan)),
    *((key, text, "4s to 876000h") for key in LIFETIMES for text in ("0s", "3s", "876000h1s")),
    *((key, text, "8760h, 1h30m or 20s") for key in LIFETIMES for text in (365, None, "", "1d", "1s1h", "-1h", "1.5h")),
    *((key, name, "lower-case letters") for key in NAMES for name in ("", "Pull", "pull_secret", "a/b", "-a", "a..b")),
    *((key, name, "at most 253") for key in NAMES for name in ("a" * 254,)),
    *(("webhook.serviceName", name, "no Service name") for name in ("", "Hook", "a.b", "a" * 64)),
    *(("namespace", name, "no namespace name") for name in ("Own", "a.b", "a" * 64)),
    *(("sources.namespaces", [name], "no namespace name") for name in ("", "Vendor", "team-*", "a.b")),
    *(("secret.excludedNamespaces", [name], "no namespace name") for name in ("", "One", "a.b", "team-[ab]", "-a")),
    *(("secret.excludedNamespaces", [name], "matches no") for name in ("One-*", "a.*", "[a]*", "-*", "a" * 63 + "*")),
    *(("certificates.extraNames", [name], "no DNS name or IP") for name in ("", "https://hook", "Hook.example", "*.x")),
    ("webhook.healthPort", 10250, "choose another port"),
    ("controller.retryLongestSeconds", 0.5, "write that or more"),
    ("controller.leaseSeconds", 15.5, "a whole number of seconds"),
    ("controller.leaseSeconds", 3601, "write at most 3600"),
    ("controller.renewSeconds", 15, "has to stop before another replica starts"),
    ("controller.retrySeconds", 10, "room for a second try"),
    ("certificates.leafLifetime", "87600h1s", "cannot outlive"),
    ("certificates.propagationDelay", "2190h1s", "more than a quarter of certificates.leafLifetime (8760h)"),
    ("certificates.mode", "certManager", "SelfManaged, CertManager, ExistingSecret"),
    ("certificates.caSecret", "replicated-proxy-registry", "secret.name too: choose another"),
    ("certificates.servingSecret", "replicated-proxy-ca", "certificates.caSecret too: choose another"),
    *((f"detection.{key}", seconds, "at most 31536000") for key in ASKING for seconds in (0, 31_536_001, math.nan)),
    *(("detection.deadline", seconds, "0 to 15") for seconds in (-1, 16, math.inf)),
    *(("detection.mostVerdicts", number, "1 to 1000000") for number in (0, 1_000_001)),
    *((f"detection.{key}", [text], "10.0.0.0/8") for key in NETWORKS for text in NO_NETWORKS),
    *(("detection.onError", word, "Private, Public") for word in ("private", "")),
    *(("sources.missingSeconds", seconds, "0 to 31536000") for seconds in (-1, 31_536_001)),
    *(("controller.deletionsPerSecond", number, "more than 0") for number in (0, -1)),
    *(("license.expiringSoonDays", days, "0 to 36500") for days in (-1, 36_501)),
    ("license.signature", "warn", "Off, Warn, Enforce"),
    ("license.onExpiry", "Delete", "Retain, Revoke"),
    ("proxy.hosts", {"my-app": ""}, "without scheme and path"),
    ("rewrite.include", ["[abc]/api"], "host/path-prefix"),
    ("certificates.extraNames", [":"], "no DNS name or IP"),
    ("certificates.extraNames", ["1::2::3"], "no DNS name or IP"),
    ("certificates.extraNames", ["a" * 254], "no DNS name or IP"),
]
# Documents of several keys, or with values that are not repeated: the document, the key, and words of the complaint.
WRONG_DOCUMENTS: list[tuple[Any, str, str]] = [
    *(({"detection": {"assume": {pattern: "Public"}}}, "detection.assume", "no registry") for pattern in NO_REGISTRIES),
    ({"detection": {"assume": {"a.example": "public"}}}, "detection.assume.a.example", "not one of Public, Private"),
    *(({"detection": {"httpProxy": text}}, "detection.httpProxy", "http://host:port") for text in NO_PROXIES),
    *(({"sources": {"secrets": [{**SOURCE, **odd}]}}, "sources.secrets[0]", words) for odd, words in ODD_SOURCES),
    ({"sources": {"secrets": [SOURCE, {**SOURCE, "appSlug": "other"}]}}, "sources.secrets[1]", "twice: remove one"),
    (
        {"controller": {"retryFirstSeconds": 20, "retryLongestSeconds": 10}},
        "controller.retryLongestSeconds",
        "controller.retryFirstSeconds (20): write that or more",
    ),
    ({"controller": {"retryFirstSeconds": 301}}, "controller.retryLongestSeconds", "write that or more"),
    ({"controller": {"renewSeconds": 1}}, "controller.retrySeconds", "room for a second try"),
    ({"controller": {"retrySeconds": 5, "renewSeconds": 4}}, "controller.retrySeconds", "room for a second try"),
    ({"controller": {"leaseSeconds": 9}}, "controller.renewSeconds", "before another replica starts"),
    ({"certificates": {"leafLifetime": "7m"}}, "certificates.propagationDelay", "a quarter of"),
    ({"certificates": {"mode": "CertManager", "leafLifetime": "29201h"}}, "certificates.leafLifetime", "a third of"),
    ({"certificates": {"caLifetime": "8h", "leafLifetime": "010h"}}, "certificates.leafLifetime", "cannot outlive"),
]


def written_at(key: str, value: object) -> Any:
    """Return the document that says this and nothing else."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value
