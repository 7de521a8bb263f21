"""The ops port: liveness, readiness, health and metrics, for probes and operators.

A tenant's broken KMS shows in the metrics and never here: restarting the proxy would not mend it.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from tenant_security.service.http import (
    Receive,
    Reply,
    Scope,
    Send,
    error_reply,
    path_of,
    send_reply,
    unknown_route,
    wrong_method,
)
from tenant_security.service.metrics import CONTENT_TYPE, Metrics


class Stage(Enum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    READY = "ready"
    REVOKED = "revoked"
    """The vendor has revoked this service: it runs, and serves nobody."""
    STOPPING = "stopping"


STATUS: Final = {
    Stage.STARTING: "STARTING",
    Stage.READY: "UP",
    Stage.REVOKED: "DOWN",
    Stage.STOPPING: "STOPPING",
}
"""What ``/health`` says of each."""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of ``/health``. ``status`` is ``UP``, ``WARN`` (serves on, somebody should look) or ``DOWN``."""

    name: str
    status: str
    data: dict[str, Any] = {}


class Health(msgspec.Struct, frozen=True):
    """The body of ``/health``."""

    status: str
    version: str
    checks: list[Check]


def worst_of(health: Health) -> Literal["UP", "WARN", "DOWN"]:
    """Return the worst of all lines."""
    statuses = {each.status for each in health.checks}
    return "DOWN" if "DOWN" in statuses else "WARN" if "WARN" in statuses else "UP"


_PLAIN: Final = b"text/plain; charset=utf-8"


class OpsApi:
    """The ASGI application on the ops port. It asks nobody anything: every answer is in memory."""

    def __init__(self, metrics: Metrics, stage: Callable[[], Stage], health: Callable[[], Health]) -> None:
        self._metrics = metrics
        self._stage = stage
        self._health = health

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] not in ("GET", "HEAD"):
            await send_reply(send, wrong_method("GET"))
            return
        await send_reply(send, self._answer(path_of(scope)))

    def _answer(self, path: str) -> Reply:
        stage = self._stage()
        match path:
            case "/live":
                return Reply(200, b"live\n", _PLAIN)
            case "/ready":
                return Reply(200 if stage is Stage.READY else 503, f"{stage.value}\n".encode(), _PLAIN)
            case "/health":
                return Reply(200 if stage is Stage.READY else 500, msgspec.json.encode(self._health()))
            case "/metrics":
                return Reply(200, self._metrics.render(), CONTENT_TYPE.encode())
            case _:
                return error_reply(unknown_route())
