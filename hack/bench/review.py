"""The review that the benchmark sends: what the API server asks about an ordinary Pod, about 5.5 KB."""

from __future__ import annotations

import json
from typing import Any

NAMESPACE = "workers"
UID = "705ab4f5-6393-11e8-b7cc-42010a800002"


def review_body() -> bytes:
    """Return an AdmissionReview of a Pod with three containers, as a Deployment makes it."""
    gvk = {"group": "", "version": "v1", "kind": "Pod"}
    gvr = {"group": "", "version": "v1", "resource": "pods"}
    request = {
        "uid": UID,
        "kind": gvk,
        "resource": gvr,
        "requestKind": gvk,
        "requestResource": gvr,
        "namespace": NAMESPACE,
        "operation": "CREATE",
        "userInfo": {
            "username": "system:serviceaccount:kube-system:replicaset-controller",
            "uid": "6d1c1c3c-1a60-4d3a-b0e4-0a6b6f0b7d6e",
            "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"],
        },
        "object": _pod(),
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }
    review = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": request}
    return json.dumps(review, separators=(",", ":")).encode()


def _pod() -> dict[str, Any]:
    token = {"name": "kube-api-access-9xk2p", "readOnly": True}
    token["mountPath"] = "/var/run/secrets/kubernetes.io/serviceaccount"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": _metadata(),
        "spec": {
            "volumes": [_token_volume(), {"name": "scratch", "emptyDir": {}}],
            "initContainers": [_container("migrate", "quay.io/my-org/migrate:v1.0.1", token)],
            "containers": [
                _container("api", "quay.io/my-org/api:v1.0.1", token),
                _container("sidecar", "docker.io/acme/sidecar@sha256:" + "0123456789abcdef" * 4, token),
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


def _metadata() -> dict[str, Any]:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "api-6d4b75cb6d",
        "uid": "2f2b2b5e-3a3f-4e8f-9f0a-0c4b8f6f2b1d",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    fields: dict[str, Any] = {
        f"f:{name}": {} for name in ("image", "imagePullPolicy", "name", "resources", "ports", "env")
    }
    return {
        "generateName": "api-6d4b75cb6d-",
        "namespace": NAMESPACE,
        "creationTimestamp": None,
        "labels": {"app": "api", "pod-template-hash": "6d4b75cb6d", "tier": "backend"},
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


def _token_volume() -> dict[str, Any]:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    ]
    return {"name": "kube-api-access-9xk2p", "projected": {"sources": sources, "defaultMode": 420}}
