"""A MutatingAdmissionPolicy that does the webhook's rewrite inside the API server, written by hand for the comparison.

It knows nothing of visibility, of the spellings of an image, and of what was rewritten before: two rules in CEL.
"""

from __future__ import annotations

from typing import Final

from bench.cluster import NAMESPACE, PREFIX
from replicated_proxy.kube.client import Object

NAME: Final = "bench-rewrite"
_SECRET: Final = "replicated-proxy-registry"  # noqa: S105 - the name of a Secret.
_API: Final = "admissionregistration.k8s.io/v1"
_HERE: Final = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}


def _images(field: str) -> str:
    """Write what rewrites the images of a list of containers."""
    return (
        f"(has(object.spec.{field}) ? object.spec.{field}.transformList(i, c, !c.image.startsWith('{PREFIX}'), "
        f"JSONPatch{{op: 'replace', path: '/spec/{field}/' + string(i) + '/image', value: '{PREFIX}' + c.image}}) : [])"
    )


def _pull_secret() -> str:
    """Write what adds the pull secret."""
    # A plain map: kube-apiserver 1.36.3 panics at a list of typed objects (cel-go, list.ConvertToNative).
    entry = f"{{'name': '{_SECRET}'}}"
    return (
        "(has(object.spec.imagePullSecrets) ? "
        f"(object.spec.imagePullSecrets.exists(s, s.name == '{_SECRET}') ? [] : "
        f"[JSONPatch{{op: 'add', path: '/spec/imagePullSecrets/-', value: {entry}}}]) : "
        f"[JSONPatch{{op: 'add', path: '/spec/imagePullSecrets', value: [{entry}]}}])"
    )


def policy_objects() -> list[Object]:
    """Return the policy and what puts it in force."""
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    expression = " + ".join((_images("containers"), _images("initContainers"), _pull_secret()))
    policy: Object = {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "matchConstraints": {"resourceRules": [rule], "namespaceSelector": _HERE},
            "failurePolicy": "Ignore",
            "reinvocationPolicy": "IfNeeded",
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
        },
    }
    binding: Object = {
        "apiVersion": _API,
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME},
    }
    return [policy, binding]
