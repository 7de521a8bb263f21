"""Our own adapters, run against a fake without a socket, beside a vendor's client that has one."""

import json
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from multidict import CIMultiDict, CIMultiDictProxy

from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext, KmsKey
from tenant_security.outbound.flow import Flow, Request, Response, Shared
from tenant_security.testing.fakes.server import Asked, FakeServer
from tenant_security.wire.kms_configs import decode_kms_config

T = TypeVar("T")


def ours(config: dict[str, object]) -> KmsKey:
    """Open a tenant's config."""
    return open_key(decode_kms_config(json.dumps(config).encode()), KmsContext(now=lambda: datetime.now(UTC)))


def answered(fake: FakeServer, flow: Flow[T], asked: list[Request] | None = None) -> T:
    """Run a flow against the fake, noting what it asks."""
    effect = flow.send(None)
    try:
        while True:
            if isinstance(effect, Shared):
                effect = flow.send(answered(fake, effect.make(), asked).value)
                continue
            assert isinstance(effect, Request)
            if asked is not None:
                asked.append(effect)
            effect = flow.send(_of_fake(fake, effect))
    except StopIteration as end:
        return end.value


def _of_fake(fake: FakeServer, request: Request) -> Response:
    url = urlsplit(request.url)
    headers = CIMultiDictProxy(CIMultiDict(request.headers))
    answer = fake.answer(Asked(request.method, url.netloc, url.path, url.query, headers, request.body))
    return Response(answer.status, {name.lower(): value for name, value in answer.headers}, answer.body)
