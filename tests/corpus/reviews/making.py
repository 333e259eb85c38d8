"""Bodies that are too large, or too odd, to be written down; `index.toml` names these functions."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path
from typing import Any, Final

_FOLDER: Final = Path(__file__).parent
# As an API server 1.35 sent them, but for names.
ORDINARY: Final = (_FOLDER / "ordinary.json").read_text(encoding="utf-8").strip()
EPHEMERAL: Final = (_FOLDER / "ephemeral.json").read_text(encoding="utf-8").strip()
IMAGE: Final = "quay.io/my-org/api:v1"
_ORIGINALS: Final = "proxy.kots.io/original-images"
_HERE: Final = '"here"'


def splice(*pairs: tuple[str, str]) -> str:
    """Replace parts of the ordinary review, each where it stands first."""
    text = ORDINARY
    for old, new in pairs:
        assert text.count(old) >= 1, f"{old!r} is not in ordinary.json"
        text = text.replace(old, new, 1)
    return text


def _with_request(raw: str, *path: str) -> bytes:
    """Return the ordinary review with raw JSON at a place in its request."""
    review: dict[str, Any] = json.loads(ORDINARY)
    place = review["request"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = "here"
    return json.dumps(review, separators=(",", ":")).replace(_HERE, raw, 1).encode()


def repeated(times: int) -> bytes:
    """Return several reviews in one body."""
    return ORDINARY.encode() * times


def ordinary_with_mark() -> bytes:
    """Return the ordinary review behind a byte order mark."""
    return codecs.BOM_UTF8 + ORDINARY.encode()


def ordinary_with_nul() -> bytes:
    """Return the ordinary review before a NUL."""
    return ORDINARY.encode() + b"\0"


def compressed() -> bytes:
    """Return the ordinary review, compressed."""
    return gzip.compress(ORDINARY.encode(), mtime=0)


def padded(size: int) -> bytes:
    """Return the ordinary review with white space up to a size."""
    return ORDINARY.encode().ljust(size)


def long_number(digits: int) -> bytes:
    """Return a review with a number of many digits."""
    return _with_request("9" * digits, "object", "spec", "terminationGracePeriodSeconds")


def nested(before: str, depth: int, after: str) -> bytes:
    """Return nothing but nesting."""
    return (before * depth + "0" * bool(after) + after * depth).encode()


def nested_inside(field: str, depth: int) -> bytes:
    """Return a review with nesting in a field that is not looked at."""
    raw = '{"f:a":' * depth + "{}" + "}" * depth
    if field == "fieldsV1":
        return _with_request(f'[{{"fieldsV1":{raw}}}]', "object", "metadata", "managedFields")
    return _with_request(raw, "object", "spec", field)


def with_object(object: str) -> bytes:  # noqa: A002 - the field's name.
    """Return a review of some JSON."""
    return _with_request(object, "object")


def another_object() -> bytes:
    """Return a review of a Service with fields that Pods have with other types."""
    pods = '"resource":"pods"},"requestKind"'
    text = splice((pods, pods.replace("pods", "services")), ('"containers":[', '"containers":5,"x":['))
    return text.encode()


def items(field: str, item: str, count: int) -> bytes:
    """Return a Pod with many items in a list of its spec."""
    return _with_request(f"[{','.join([item] * count)}]", "object", "spec", field)


def containers(count: int, image: str, fill: str = "", length: int = 0) -> bytes:
    """Return a Pod with many containers, whose image is filled up to a length."""
    text = (image + fill * (length // len(fill)))[:length] if fill else image
    listed = ",".join(f'{{"name":"c{index}","image":"{text}"}}' for index in range(count))
    return _with_request(f"[{listed}]", "object", "spec", "containers")


def carriers(count: int) -> bytes:
    """Return a Pod with many of everything that carries an image."""
    listed = ",".join(f'{{"name":"c{index}","image":"a/b"}}' for index in range(count))
    volumes = ",".join(f'{{"name":"v{index}","image":{{"reference":"a/b"}}}}' for index in range(count))
    raw = f'{{"containers":[{listed}],"initContainers":[{listed}],"volumes":[{volumes}]}}'
    return _with_request(raw, "object", "spec")


def long_host(length: int) -> bytes:
    """Return a Pod with an image on a host with a long name."""
    return containers(1, ("a." * length)[: length - 3] + "b/c")


def long_name(length: int) -> bytes:
    """Return a Pod with a container of a long name, and an image to warn about."""
    raw = f'[{{"name":"{"n" * length}","image":"reg.example.com:5000/a"}}]'
    return _with_request(raw, "object", "spec", "containers")


def long_uid(length: int) -> bytes:
    """Return a review with a long UID."""
    return _with_request(f'"{"u" * length}"', "uid")


def long_namespace(length: int) -> bytes:
    """Return a review from a namespace with a long name."""
    return _with_request(f'"{"n" * length}"', "namespace")


def pull_secrets(count: int) -> bytes:
    """Return a Pod with many pull secrets."""
    return items("imagePullSecrets", '{"name":"s"}', count)


def labels(count: int) -> bytes:
    """Return a Pod with many labels."""
    raw = ",".join(f'"l{index}":"{index}"' for index in range(count))
    return _with_request(f"{{{raw}}}", "object", "metadata", "labels")


def groups(count: int) -> bytes:
    """Return a review by a user of many groups."""
    raw = ",".join(f'"g{index}"' for index in range(count))
    return _with_request(f"[{raw}]", "userInfo", "groups")


def annotation(size: int) -> bytes:
    """Return a Pod with a large annotation."""
    return _with_request(f'{{"a":"{"x" * size}"}}', "object", "metadata", "annotations")


def _originals(text: str) -> bytes:
    """Return a Pod with an earlier map of original images."""
    return _with_request(json.dumps({_ORIGINALS: text}), "object", "metadata", "annotations")


def nested_originals(depth: int) -> bytes:
    """Return a Pod whose earlier originals are nesting."""
    return _originals('{"a":' * depth)


def originals_with_number(digits: int) -> bytes:
    """Return a Pod whose earlier originals hold a number of many digits."""
    return _originals('{"a":' + "9" * digits + "}")


def large_originals(count: int) -> bytes:
    """Return a Pod with more earlier originals than annotations have room for."""
    return _originals(json.dumps({f"containers/{index}": "nginx" for index in range(count)}, separators=(",", ":")))
