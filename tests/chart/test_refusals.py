"""What the chart refuses, and what it says then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from chart.helm_chart import Chart

_SOURCE = {"namespace": "vault", "name": "acme", "key": "license.yaml"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"imgae": {}}, ["imgae", "not allowed"]),
        ({"image": {"name": "x"}}, ["/image", "name", "not allowed"]),
        ({"settings": {"rewrite": {"modes": "all"}}}, ["/settings/rewrite", "modes"]),
        (
            {"settings": {"rewrite": {"mode": "some"}}},
            ["/settings/rewrite/mode", "'private'", "'all'", "'listed'", "'off'"],
        ),
        (
            {"settings": {"secret": {"name": "Not_A_Name"}}},
            ["settings.secret.name", "Not_A_Name", "lower-case letters"],
        ),
        ({"webhook": {"replicas": "two"}}, ["/webhook/replicas", "integer"]),
        ({"webhook": {"timeoutSeconds": 31}}, ["/webhook/timeoutSeconds", "30"]),
        ({"webhook": {"failurePolicy": "ignore"}}, ["/webhook/failurePolicy", "'Ignore'", "'Fail'"]),
        ({"settings": {"webhook": {"port": 8080}}}, ["settings.webhook.port", "different ports"]),
        ({"terminationGracePeriodSeconds": 24}, ["terminationGracePeriodSeconds", "drainSeconds", "at least 25"]),
        ({"settings": {"license": {"signature": "warn"}}}, ["/settings/license/signature", "'Warn'", "'Enforce'"]),
        ({"settings": {"license": {"onExpiry": "Delete"}}}, ["/settings/license/onExpiry", "'Retain'", "'Revoke'"]),
        ({"settings": {"license": {"trustedKeys": {"k": "x"}}}}, ["settings.license.trustedKeys.k", "PUBLIC KEY"]),
        ({"settings": {"license": {"expiringSoonDays": -1}}}, ["/settings/license/expiringSoonDays", "0"]),
        (
            {"settings": {"proxy": {"allowedHosts": ["https://x.example"]}}},
            ["settings.proxy.allowedHosts[0]", "without https://"],
        ),
        ({"settings": {"controller": {"leaseName": ""}}}, ["settings.controller.leaseName"]),
        ({"settings": {"controller": {"leaseSeconds": 10}}}, ["renewSeconds 10", "less than the next"]),
        ({"settings": {"controller": {"retrySeconds": 10}}}, ["retrySeconds 10", "less than the next"]),
        ({"fullnameOverride": "one", "settings": {"routesConfigMap": "one"}}, ["routesConfigMap", "another name"]),
        ({"settings": {"certificates": {"caSecret": "one", "servingSecret": "one"}}}, ["caSecret", "different names"]),
        ({"settings": {"sources": {"secrets": [{"namespace": "a", "name": "b"}]}}}, ["/secrets/0", "'key'"]),
        ({"settings": {"sources": {"secrets": [{**_SOURCE, "slug": "x"}]}}}, ["/secrets/0", "slug", "not allowed"]),
        (
            {"settings": {"sources": {"secrets": [{**_SOURCE, "namespace": "A_b"}]}}},
            ["settings.sources.secrets[0].namespace", "A_b"],
        ),
        (
            {"settings": {"sources": {"secrets": [{**_SOURCE, "namespaces": ["a-*"]}]}}},
            ["settings.sources.secrets[0].namespaces[0]", "no other wildcards"],
        ),
        (
            {"settings": {"sources": {"secrets": [{**_SOURCE, "proxyHost": "a/b"}]}}},
            ["settings.sources.secrets[0].proxyHost", "a/b"],
        ),
        ({"injectedLicense": {"appSlug": "My App"}}, ["injectedLicense.appSlug", "My App"]),
        ({"controller": {"replicas": -1}}, ["/controller/replicas", "0"]),
        ({"cleanup": {"timeoutSeconds": 0}}, ["/cleanup/timeoutSeconds", "1"]),
        ({"detectionCa": {"configMap": "a", "secret": "b"}}, ["configMap a", "secret b", "leave one of them empty"]),
        (
            {"detectionCa": {"secret": "a"}, "settings": {"detection": {"caFile": "/etc/ca.pem"}}},
            ["settings.detection.caFile", "/etc/ca.pem", "leave caFile empty"],
        ),
        ({"detectionCa": {"configMap": "A_b"}}, ["detectionCa.configMap", "A_b"]),
        ({"detectionCa": {"configMap": "a", "key": "../x"}}, ["detectionCa.key", "../x"]),
        ({"policies": {"reach": {"enable": True}}}, ["/policies/reach", "enable", "not allowed"]),
        ({"image": {"digest": "sha256:12"}}, ["image.digest", "sha256:12", "64 hexadecimal digits"]),
        ({"image": {"registry": "https://x.example"}}, ["image.registry", "without https://"]),
        ({"global": {"imageRegistry": "https://a/b"}}, ["global.imageRegistry", "https://a/b"]),
        ({"webhook": {"hostNetwork": True}}, ["hostNetwork", "10250", "kubelet"]),
        ({"settings": {"proxy": {"hosts": {"my-app": "https://x"}}}}, ["settings.proxy.hosts.my-app", "https://x"]),
        ({"settings": {"rewrite": {"include": ["https://x"]}}}, ["settings.rewrite.include[0]", "host/path-prefix"]),
        ({"settings": {"sources": {"namespaces": ["a-*"]}}}, ["settings.sources.namespaces[0]", "a-*"]),
        ({"settings": {"secret": {"excludedNamespaces": ["A"]}}}, ["settings.secret.excludedNamespaces[0]", "* and ?"]),
        ({"settings": {"secret": {"name": "replicated-proxy-ca"}}}, ["certificates.caSecret", "another name"]),
        ({"global": {"imagePullSecrets": 5}}, ["/global/imagePullSecrets", "array"]),
        ({"fullnameOverride": "a.b"}, ["fullnameOverride", "a.b", "letters, digits and -"]),
        (
            {"settings": {"detection": {"httpProxy": "proxy:3128"}}},
            ["settings.detection.httpProxy", "http://host:port"],
        ),
        ({"settings": {"controller": {"retrySeconds": None, "renewSeconds": 1}}}, ["retrySeconds 2", "renewSeconds 1"]),
        (
            {"settings": {"detection": {"allowedNetworks": ["10.0.0.1/8"]}}},
            ["settings.detection.allowedNetworks[0]", '"10.0.0.1/8"', "has host bits set", "write", "10.0.0.0/8"],
        ),
        (
            {"settings": {"certificates": {"leafLifetime": "08h", "propagationDelay": "010h"}}},
            ["propagationDelay is 010h", "a quarter of leafLifetime (08h)"],
        ),
        ({"settings": {"certificates": {"leafLifetime": "3s"}}}, ["leafLifetime is 3s", "write 4s to 876000h"]),
        (
            {"settings": {"sources": {"secrets": [_SOURCE, _SOURCE]}}},
            ["settings.sources.secrets[1]", "settings.sources.secrets[0]", "remove one"],
        ),
        (
            {"settings": {"license": {"trustedKeys": {"k": "-----BEGIN PUBLIC KEY-----\nMIIB"}}}},
            ["settings.license.trustedKeys.k", "-----END PUBLIC KEY-----"],
        ),
        ({"settings": {"detection": {"caFile": "ca.pem"}}}, ["settings.detection.caFile", "from the root"]),
        (
            {"settings": {"detection": {"assume": {"A_b": "Public"}}}},
            ["settings.detection.assume", "A_b", "lower case"],
        ),
        (
            {"settings": {"detection": {"allowedNetworks": ["intranet"]}}},
            ["detection.allowedNetworks[0]", "10.0.0.0/8"],
        ),
        ({"networkPolicy": {"apiServer": {"cidrs": ["x"]}}}, ["networkPolicy.apiServer.cidrs[0]", "10.0.0.0/8"]),
        ({"networkPolicy": {"dns": {"ports": []}}}, ["/networkPolicy/dns/ports", "minItems"]),
        ({"test": {"namespace": "A"}}, ["test.namespace", "letters, digits and -"]),
        ({"extraVolumes": [{"emptyDir": {}}]}, ["/extraVolumes/0", "'name'"]),
    ],
)
def test_refuses_wrong_values(chart: Chart, values: dict[str, Any], words: list[str]) -> None:
    """A wrong key or value is named, with what would be right."""
    refusal = chart.refusal(values)
    assert all(word in refusal for word in words), refusal


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease"])
def test_refuses_the_systems_namespaces(chart: Chart, namespace: str) -> None:
    """The operator's own namespace is never served, so it must not be one of the system's."""
    assert "namespace of its own" in chart.refusal(namespace=namespace)


def test_everything_wrong_is_told_at_once(chart: Chart) -> None:
    """Several texts of a wrong form make one message, a line for each."""
    values = {"image": {"digest": "x"}, "settings": {"secret": {"name": "A"}}, "detectionCa": {"configMap": "B"}}
    refusal = chart.refusal(values)
    lines = [line for line in refusal.splitlines() if line.startswith("  - ")]
    assert [line.split()[1] for line in lines] == ["image.digest", "detectionCa.configMap", "settings.secret.name"]


def test_value_that_may_hold_a_password_is_not_repeated(chart: Chart) -> None:
    """The address of a proxy is the one setting that people write credentials into; helm's output goes into logs."""
    refusal = chart.refusal({"settings": {"detection": {"httpProxy": "http://user:secret@proxy.example.com:3128"}}})
    assert "settings.detection.httpProxy is no proxy: write http://host:port" in refusal
    assert "secret" not in refusal


def test_messages_are_words(chart: Chart) -> None:
    """No value is held against a regular expression that the reader would have to read."""
    schema = (chart.folder / "values.schema.json").read_text(encoding="utf-8")
    assert '"pattern"' not in schema
