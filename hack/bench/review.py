"""The reviews that the benchmark sends: what the API server asks about ordinary Pods, about 6 KB each.

Pods of one ReplicaSet differ as they do in a cluster: in the review's UID, which is another each time, and in the
random name of the volume that holds the token. Distinct Pods have names, labels and images of their own as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

NAMESPACE = "workers"
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"
REPOSITORIES = 100
"""How many different repositories distinct Pods name for each container."""
_DIGEST = "0123456789abcdef" * 4


@dataclass(frozen=True, slots=True)
class PodWords:
    """What differs between two Pods.

    Attributes:
        app: name of the Deployment.
        template: hash of its Pod template.
        token: suffix of the token's volume.
        images: of the init container and the two containers.
    """

    app: str = "api"
    template: str = "6d4b75cb6d"
    token: str = "9xk2p"  # noqa: S105 - the name of a volume.
    images: tuple[str, str, str] = (
        "quay.io/my-org/migrate:v1.0.1",
        "quay.io/my-org/api:v1.0.1",
        f"docker.io/acme/sidecar@sha256:{_DIGEST}",
    )


def replica(number: int) -> PodWords:
    """Return one Pod of the one ReplicaSet."""
    return PodWords(token=f"{number:05x}")


def distinct(number: int) -> PodWords:
    """Return a Pod that has little in common with the others."""
    share, tag = number % REPOSITORIES, f"v1.{number:04}.1"
    images = (
        f"quay.io/my-org/migrate-{share:02}:{tag}",
        f"quay.io/my-org/api-{share:02}:{tag}",
        f"docker.io/acme/sidecar-{share:02}@sha256:{number:064x}",
    )
    return PodWords(f"app-{number:04}", f"{number:010x}", f"{number:05x}", images)


PODS: Mapping[str, Callable[[int], PodWords]] = {"replicas": replica, "distinct": distinct}
"""By word, what the Pods of a run are."""


def review_body(words: PodWords = PodWords(), namespace: str = NAMESPACE) -> bytes:
    """Return an AdmissionReview of a Pod with three containers, as a Deployment makes it."""
    gvk = {"group": "", "version": "v1", "kind": "Pod"}
    gvr = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": UID,
        "kind": gvk,
        "resource": gvr,
        "requestKind": gvk,
        "requestResource": gvr,
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "uid": "6d1c1c3c-1a60-4d3a-b0e4-0a6b6f0b7d6e",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        },
        "object": a_pod(words, namespace),
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    return json.dumps(review, separators=(",", ":")).encode()


def bare_pod(words: PodWords, namespace: str) -> dict[str, Any]:
    """Return the Pod as somebody creates it who owns it by nothing: no controller, and nothing for it to collect."""
    pod = a_pod(words, namespace)
    del pod["status"]
    pod["metadata"] = {key: pod["metadata"][key] for key in ("generateName", "namespace", "labels", "annotations")}
    return pod


def a_pod(words: PodWords, namespace: str) -> dict[str, Any]:
    """Return the Pod."""
    token: dict[str, Any] = {"name": f"kube-api-access-{words.token}", "readOnly": True}
    token["mountPath"] = "/var/run/secrets/kubernetes.io/serviceaccount"
    migrate = _container("migrate", words.images[0], token)
    del migrate["livenessProbe"]  # What runs to its end has none.
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": _metadata(words, namespace),
        "spec": {
            "volumes": [_token_volume(words), {"name": "scratch", "emptyDir": {}}],
            "initContainers": [migrate],
            "containers": [
                _container("api", words.images[1], token),
                _container("sidecar", words.images[2], token),
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": f"node.kubernetes.io/{word}", "operator": "Exists", "effect": "NoExecute"}
                for word in ("not-ready", "unreachable")
            ],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    }


def _metadata(words: PodWords, namespace: str) -> dict[str, Any]:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": f"{words.app}-{words.template}",
        "uid": "2f2b2b5e-3a3f-4e8f-9f0a-0c4b8f6f2b1d",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    fields: dict[str, Any] = {
        f"f:{name}": {} for name in ("image", "imagePullPolicy", "name", "resources", "ports", "env")
    }
    return {
        "generateName": f"{words.app}-{words.template}-",
        "namespace": namespace,
        "creationTimestamp": None,
        "labels": {"app": words.app, "pod-template-hash": words.template, "tier": "backend"},
        "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
        "ownerReferences": [owner],
        "managedFields": [
            {
                "manager": "kube-controller-manager",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-01-01T00:00:00Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:spec": {"f:containers": {'k:{"name":"api"}': fields}}},
            }
        ],
    }


def _container(name: str, image: str, token: dict[str, Any]) -> dict[str, Any]:
    probe = {"path": "/healthz", "port": "http", "scheme": "HTTP"}
    return {
        "name": name,
        "image": image,
        "args": ["serve", "--listen=:8080", f"--component={name}"],
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "env": [{"name": f"SETTING_{number}", "value": f"value-of-setting-{number}"} for number in range(8)],
        "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}, token],
        "livenessProbe": {"httpGet": probe, "timeoutSeconds": 1, "periodSeconds": 10, "failureThreshold": 3},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _token_volume(words: PodWords) -> dict[str, Any]:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": f"kube-api-access-{words.token}", "projected": {"sources": sources, "defaultMode": 420}}
