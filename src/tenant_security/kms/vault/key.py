"""HashiCorp Vault and OpenBao: a key of the Transit engine.

We make the DEK and ask Transit to encrypt it, as with every provider; one call per wrap and one per unwrap. The blob in
an EDEK is Transit's text as it stands, ``vault:v3:...``; it names its key version itself.

Transit refuses a bad token and a missing permission with the same 403. So, as far as we can sign in, a token that is
not new is replaced once; if the refusal stays, the token is asked about itself, and the answer says whose fault it is.

Source: Vault API, "Transit Secrets Engine", "Token Auth Method"; docs/kms/vault.md.
"""

import base64
import re
from typing import Final, TypeVar

import msgspec

from tenant_security.errors import Code
from tenant_security.kms.addresses import origin
from tenant_security.kms.provider import KmsContext, KmsFaultError
from tenant_security.kms.refusals import Phase
from tenant_security.kms.vault.errors import HTTP_FORBIDDEN, PROVIDER, fault, token_ended, unusable
from tenant_security.kms.vault.session import OK, Server, Session, SignIn, session, sign_in_with
from tenant_security.outbound.flow import Flow, Response, forget, send, shared
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.kms.vault import VaultKeyPath, VaultKmsConfig

MAX_BLOB_BYTES: Final = 4096
"""Longer than any ciphertext of 32 bytes: under an RSA key of 4,096 bits it has some 700 characters."""

NEW_FOR_S: Final = 30.0
"""How long a token counts as new: a refusal is then not the token's fault, and we do not sign in for every refusal."""

_BLOB: Final = re.compile(rb"vault:v[1-9][0-9]{0,8}:[A-Za-z0-9+/]+={0,2}")
_LOOKUP: Final = "auth/token/lookup-self"


class _Ciphertext(msgspec.Struct):
    ciphertext: str


class _Encrypted(msgspec.Struct):
    """The reply to encrypt."""

    data: _Ciphertext


class _Plaintext(msgspec.Struct):
    plaintext: bytes


class _Decrypted(msgspec.Struct):
    """The reply to decrypt. msgspec decodes the base64."""

    data: _Plaintext


Reply = TypeVar("Reply", _Encrypted, _Decrypted)


class VaultKmsKey:
    """One Transit key.

    Raises: KmsFaultError 207 when the configuration cannot work whatever Vault says.
    """

    __slots__ = ("_context", "_path", "_server", "_static", "_token_key", "_way")

    provider = PROVIDER.id

    def __init__(self, config: VaultKmsConfig, context: KmsContext) -> None:
        self._server = Server(
            base=origin(PROVIDER, config.key_path.address, "keyPath.address"),
            namespace=config.credentials.namespace or "",
            authorities=b"" if config.ca_certificate is None else authorities_pem(config.ca_certificate),
        )
        self._path = config.key_path
        self._context = context
        self._way: SignIn | None = None
        self._static: Session | None = None
        self._token_key = b""
        match sign_in_with(config.credentials, context):
            case SignIn() as way:
                self._way = way
                self._token_key = way.key(self._server)
            case token:
                self._static = Session(token, context.now())

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Encrypt 32 bytes with the key's newest version."""
        reply = yield from self._ask(Phase.WRAP, "encrypt", {"plaintext": base64.b64encode(key).decode()}, _Encrypted)
        blob = reply.data.ciphertext.encode("utf-8", "replace")
        if len(blob) > MAX_BLOB_BYTES or not _BLOB.fullmatch(blob):
            raise unusable(Phase.WRAP, "the answer is not a ciphertext of Transit's")
        return blob

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Decrypt what a version of this very key made."""
        if len(blob) > MAX_BLOB_BYTES or not _BLOB.fullmatch(blob):
            raise KmsFaultError(
                Code.KMS_UNWRAP_FAILED,
                f"{PROVIDER.name} cannot unwrap the key: the wrapped key did not come from a Transit engine.",
                provider=PROVIDER.id,
            )
        reply = yield from self._ask(Phase.UNWRAP, "decrypt", {"ciphertext": blob.decode()}, _Decrypted)
        return reply.data.plaintext

    def _ask(self, phase: Phase, verb: str, asked: dict[str, str], kind: type[Reply]) -> Flow[Reply]:
        response = yield from self._allowed(phase, verb, _bound(asked, self._path))
        if response.status != OK:
            raise fault(phase, response)
        try:
            return msgspec.json.decode(response.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise unusable(phase, "the answer is not what Transit documents") from None

    def _allowed(self, phase: Phase, verb: str, body: bytes) -> Flow[Response]:
        """Send; find out what a 403 means, and sign in once more where that may help."""
        path = f"{self._path.mount}/{verb}/{self._path.key_name}"
        held = yield from self._session()
        response = yield from self._sent(path, body, held)
        if response.status != HTTP_FORBIDDEN:
            return response
        if self._way is None or self._is_new(held):
            if (yield from self._is_good(phase, held)):
                return response
            if self._way is None:
                raise token_ended(phase, response)
        yield from forget(self._token_key)
        held = yield from self._session()
        response = yield from self._sent(path, body, held)
        if response.status == HTTP_FORBIDDEN and not (yield from self._is_good(phase, held)):
            yield from forget(self._token_key)
            raise token_ended(phase, response)
        return response

    def _session(self) -> Flow[Session]:
        """Return a token with a use taken. Where a role counts uses, others may take the last before us: ask again."""
        if self._way is None:
            assert self._static is not None
            return self._static
        way = self._way
        while True:
            held = yield from shared(self._token_key, lambda: session(self._server, way, self._context))
            if held.take():
                return held
            yield from forget(self._token_key)

    def _sent(self, path: str, body: bytes, held: Session) -> Flow[Response]:
        return (yield from send(self._server.request("POST", path, body, held.token)))

    def _is_new(self, held: Session) -> bool:
        return (self._context.now() - held.born).total_seconds() < NEW_FOR_S

    def _is_good(self, phase: Phase, held: Session) -> Flow[bool]:
        """Ask a token about itself. One that may not be used again cannot be asked; it was good for the call before."""
        if not held.take():
            return True
        looked = yield from send(self._server.request("GET", _LOOKUP, b"", held.token))
        if looked.status not in (OK, HTTP_FORBIDDEN):
            raise fault(phase, looked)
        return looked.status == OK


def _bound(asked: dict[str, str], path: VaultKeyPath) -> bytes:
    """Render a request with what is bound to every ciphertext of this config."""
    if path.context is not None:
        asked["context"] = base64.b64encode(path.context.encode()).decode()
    if path.associated_data is not None:
        asked["associated_data"] = base64.b64encode(path.associated_data.encode()).decode()
    return msgspec.json.encode(asked)
