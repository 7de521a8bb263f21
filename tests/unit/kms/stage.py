"""A stage on which a KMS key plays against scripted answers, without a socket or a clock."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from tenant_security.errors import Code
from tenant_security.kms.catalog import open_key
from tenant_security.kms.own_identity import OWN_IDENTITIES
from tenant_security.kms.provider import KmsContext, KmsFaultError, KmsKey
from tenant_security.outbound.flow import (
    Flow,
    Forget,
    Lasting,
    ReadFile,
    Request,
    Response,
    Shared,
    UnreachableError,
)
from tenant_security.wire.kms_configs import decode_kms_config

T = TypeVar("T")

DEK = bytes(range(32))


class Stage:
    """Runs a flow, answering its requests from ``answers`` in order and its files from ``files``."""

    def __init__(self, config: dict[str, object]) -> None:
        self.config = config
        self.now = datetime(2026, 11, 24, 3, 0, 0, tzinfo=UTC)
        self.answers: list[Response | UnreachableError] = []
        self.requests: list[Request] = []
        self.files: dict[Path, bytes] = {}
        self.kept: dict[object, Lasting[object]] = {}
        self.environ: dict[str, str] = {}
        self.vendor_owned = False

    def key(self, **changes: object) -> KmsKey:
        """A key whose configuration differs from the usual one in these members; None leaves one out."""
        context = KmsContext(
            now=lambda: self.now,
            vendor_owned=self.vendor_owned,
            identities=OWN_IDENTITIES if self.vendor_owned else frozenset(),
            environ=self.environ,
        )
        members = {name: value for name, value in (self.config | changes).items() if value is not None}
        return open_key(decode_kms_config(msgspec.json.encode(members)), context)

    def run(self, flow: Flow[T]) -> T:
        try:
            effect = flow.send(None)
            while True:
                answer = self._answer(effect)
                effect = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
        except StopIteration as end:
            return end.value

    def refused(self, flow: Flow[T], code: Code) -> KmsFaultError:
        with pytest.raises(KmsFaultError) as caught:
            self.run(flow)
        assert caught.value.code is code
        return caught.value

    def _answer(self, effect: object) -> object:
        match effect:
            case Request():
                self.requests.append(effect)
                return self.answers.pop(0)
            case Shared(key, make):
                if key not in self.kept:
                    try:
                        self.kept[key] = self.run(make())
                    except (KmsFaultError, UnreachableError) as fault:
                        return fault
                return self.kept[key].value
            case Forget(key):
                self.kept.pop(key, None)
                return None
            case ReadFile(path, _):
                return self.files.get(path, FileNotFoundError(path))
        raise AssertionError(effect)


def reply(body: object, status: int = 200, **headers: str) -> Response:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Response(status, {name.replace("_", "-"): value for name, value in headers.items()}, encoded)


def bearer(request: Request) -> str:
    kind, _, token = dict(request.headers)["Authorization"].partition(" ")
    assert kind == "Bearer"
    return token
