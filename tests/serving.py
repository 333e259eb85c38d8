"""Reviews, certificates and a client for tests of the webhook; each builder makes a working one."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp

from builders import Json, a_route, a_table
from replicated_proxy.certificates.documents import serving_data
from replicated_proxy.certificates.issuing import Authority, make_authority, make_leaf, service_names, webhook_name
from replicated_proxy.core.images import ImageReference
from replicated_proxy.core.routes import RoutingTable
from replicated_proxy.core.routing_documents import DATA_KEY, encode_table
from replicated_proxy.core.visibility import Visibility
from replicated_proxy.webhook.handler import Undecided

SERVICE: Final = "webhook"
NAMESPACE: Final = "operator-system"
SERVER_NAME: Final = webhook_name(SERVICE, NAMESPACE)
NAMES: Final = service_names(SERVICE, NAMESPACE)
NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
PROXY: Final = "proxy.replicated.com/proxy/my-app"


class Known:
    """A detector that knows all there is to know: what it was made with, everything else to be private."""

    revision = 0

    def __init__(self, **visibilities: Visibility) -> None:
        self._visibilities = visibilities

    def look_up(self, reference: ImageReference, _namespace: str) -> Visibility:
        """Return what is known of a repository."""
        return self._visibilities.get(reference.repository, Visibility.PRIVATE)

    async def find_out(self, references: Sequence[ImageReference], _namespace: str, _seconds: float) -> None:
        """Never have to."""
        raise AssertionError(f"asked about {references}")

    settle = look_up


def a_serving_secret(authority: Authority | None = None, *, now: datetime = NOW, days: int = 30) -> Json:
    """Return the serving Secret as the controller writes it."""
    authority = authority or make_authority(now, timedelta(days=days))
    leaf = make_leaf(authority, NAMES, now, timedelta(days=days))
    return a_secret(serving_data(leaf, authority.certificate_pem))


def a_secret(data: Mapping[str, str]) -> Json:
    """Return a Secret with this data."""
    return {"metadata": {"name": "serving", "namespace": NAMESPACE}, "data": dict(data)}


def a_config_map(table: RoutingTable | None = None) -> Json:
    """Return the ConfigMap of a table, by default one with a License in the namespace `app`."""
    return {"metadata": {"name": "routes"}, "data": {DATA_KEY: encode_table(table or a_table(a_route()))}}


def a_pod_body(*images: str, metadata: Mapping[str, Any] | None = None, **spec: Any) -> Json:
    """Return a Pod as the API server sends it, with containers `c0`, `c1`, … of these images."""
    containers = [
        {"name": f"c{index}", "image": image, "imagePullPolicy": "IfNotPresent"} for index, image in enumerate(images)
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "main", **(metadata or {})},
        "spec": {"containers": containers, **spec},
    }


def a_review(pod: Json | None = None, **differs: Any) -> Json:
    """Return a review of a Pod's creation in the namespace `app`; `differs` replace fields of the request."""
    request = {
        "uid": "a-uid",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": "app",
        "operation": "CREATE",
        "userInfo": {"username": "jane", "groups": ["system:authenticated"]},
        "object": a_pod_body("nginx") if pod is None else pod,
        "oldObject": None,
        "dryRun": False,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request | differs}


def to_bytes(review: Json) -> bytes:
    """Encode a review."""
    return json.dumps(review).encode()


def read_response(answer: bytes | Undecided) -> Json:
    """Return the response of an answer that was there at once, after the checks that the API server makes of any."""
    assert isinstance(answer, bytes)
    review: Json = json.loads(answer)
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Json = review["response"]
    assert ("patch" in response) == ("patchType" in response)
    return response


def read_patch(response: Json) -> list[Json]:
    """Return the operations of a response's patch."""
    operations: list[Json] = json.loads(base64.b64decode(response["patch"], validate=True))
    return operations


def client_context(*authorities: Authority) -> ssl.SSLContext:
    """Return a context that trusts these authorities and no others."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=b"".join(each.certificate_pem for each in authorities).decode())
    return context


def client_session(port: int, *authorities: Authority) -> aiohttp.ClientSession:
    """Return a session to a server on this port that expects the name the API server expects."""
    connector = aiohttp.TCPConnector(ssl=client_context(*authorities), limit=1)
    return aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector)
