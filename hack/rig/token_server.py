"""A token server of the kind that registries send their clients to: what it signs, distribution accepts."""

import base64
import json
import secrets
import ssl
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from rig.authority import KeyPair

ISSUER = "rig-tokens"
_LIFETIME_SECONDS = 300
_CURVE_BYTES = 32


@dataclass(slots=True)
class TokenServer:
    """Hands out tokens over HTTPS; an async context manager.

    Attributes:
        public: the repositories that anybody may pull.
        refuses: says 403 where nothing is granted (GHCR, Google, GitLab) instead of handing out a token that grants
            nothing (Docker Hub, Quay, Harbor).
        queries: what it was asked, each as its parameters in order.
        authorizations: the `Authorization` header of each request.
    """

    address: str
    port: int
    serving: KeyPair
    signing: KeyPair
    public: Collection[str]
    refuses: bool = False
    queries: list[list[tuple[str, str]]] = field(default_factory=list)
    authorizations: list[str | None] = field(default_factory=list)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.serving.certificate, self.serving.key)
        application = web.Application()
        application.router.add_get("/token", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.address, self.port, ssl_context=context).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.queries.append(list(request.query.items()))
        self.authorizations.append(request.headers.get("Authorization"))
        access = [granted for scope in request.query.getall("scope", []) if (granted := self._grant(scope))]
        if not access and self.refuses:
            return web.json_response({"errors": [{"code": "DENIED"}]}, status=403)
        token = sign(self.signing, request.query.get("service", ""), access)
        return web.json_response({"token": token, "expires_in": _LIFETIME_SECONDS})

    def _grant(self, scope: str) -> dict[str, object] | None:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind != "repository" or name not in self.public or "pull" not in actions.split(","):
            return None
        return {"type": kind, "name": name, "actions": ["pull"]}


def sign(pair: KeyPair, service: str, access: list[dict[str, object]]) -> str:
    """Return a JWT by which a registry lets its bearer do these things."""
    certificate = x509.load_pem_x509_certificate(Path(pair.certificate).read_bytes())
    key = serialization.load_pem_private_key(Path(pair.key).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{pair.key} is not a key of ours")
    chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "sub": "",
        "aud": service,
        "exp": now + _LIFETIME_SECONDS,
        "nbf": now - 60,
        "iat": now,
        "jti": secrets.token_hex(8),
        "access": access,
    }
    signed = f"{_encode({'typ': 'JWT', 'alg': 'ES256', 'x5c': [chain]})}.{_encode(claims)}"
    first, second = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = first.to_bytes(_CURVE_BYTES, "big") + second.to_bytes(_CURVE_BYTES, "big")
    return f"{signed}.{_base64(signature)}"


def _encode(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
