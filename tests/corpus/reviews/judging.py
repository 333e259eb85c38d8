"""Would the API server take this answer? What its dispatcher and its warning headers check, and what we promise."""

from __future__ import annotations

import base64
import copy
import json
import re
from typing import Any, Final

import jsonpatch

_PATHS: Final = re.compile(
    r"/spec/(containers|initContainers|ephemeralContainers)/[0-9]+/image"
    r"|/spec/volumes/[0-9]+/image/reference"
    r"|/spec/imagePullSecrets(/-)?"
    r"|/metadata/annotations(/proxy\.kots\.io~1original-images)?"
)
Json = dict[str, Any]


def read_request(body: bytes) -> Json | None:
    """Read a request as the API server's decoder would; None where it would not, so that nobody can have sent it."""
    try:
        request: Json = json.loads(body.decode("utf-8", "replace"), strict=False)["request"]
    except (ValueError, RecursionError):
        return None
    return request


def judge(body: bytes, answer: bytes) -> Json:
    """Check an answer to a body, and return its response."""
    review = json.loads(answer)
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: Json = review["response"]
    assert response["allowed"] is True
    assert ("patch" in response) == ("patchType" in response)
    check_words(response)
    if (request := read_request(body)) is not None:
        assert response["uid"] == request["uid"]
        check_patch(request, response)
    return response


def check_words(response: Json) -> None:
    """Check that whatever is shown to people is short and printable."""
    warnings, audit = response.get("warnings", []), response.get("auditAnnotations", {})
    assert len(warnings) <= 5
    assert all(len(text) <= 120 and text.isprintable() for text in warnings)
    assert not any("failed on this Pod" in text for text in warnings)  # A mistake of ours, which admits every Pod.
    assert all(re.fullmatch(r"[a-z-]+", key) for key in audit)
    assert all(len(text) <= 2048 and text.isprintable() for text in audit.values())


def operations_of(response: Json) -> list[Json]:
    """Return the operations of a patch; none where there is no patch."""
    if "patch" not in response:
        return []
    assert response["patchType"] == "JSONPatch"
    operations: list[Json] = json.loads(base64.b64decode(response["patch"], validate=True))
    assert operations
    return operations


def check_patch(request: Json, response: Json) -> None:
    """Check that a patch touches what it may, and that the object is otherwise what it was."""
    operations = operations_of(response)
    assert all(_PATHS.fullmatch(operation["path"]) for operation in operations)
    if operations:
        assert _rest_of(patch(request, response)) == _rest_of(request["object"])


def patch(request: Json, response: Json) -> Json:
    """Return the object as the API server would go on with it."""
    patched: Json = jsonpatch.apply_patch(request["object"], operations_of(response))
    return patched


def _rest_of(pod: Json) -> Json:
    """Return a Pod without what a patch may touch."""
    rest = copy.deepcopy(pod)
    spec = rest.get("spec") or {}
    for field in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(field) or ():
            container["image"] = None
    for volume in spec.get("volumes") or ():
        if volume.get("image") is not None:
            volume["image"]["reference"] = None
    spec.pop("imagePullSecrets", None)
    annotations = (rest.get("metadata") or {}).pop("annotations", None) or {}
    return {
        **rest,
        "annotations": {key: annotations[key] for key in annotations if not key.endswith("original-images")},
    }
