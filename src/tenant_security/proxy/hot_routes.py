"""The hot endpoints as the API port's connections see them: what answers each, and where it is counted."""

from collections.abc import Awaitable, Callable
from typing import Final

from tenant_security.errors import TenantSecurityError
from tenant_security.proxy.fastpath import Answer
from tenant_security.proxy.observed import FAST, ProxyMetrics
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.http import Reply
from tenant_security.service.metrics import Cell
from tenant_security.service.ray import RayIds

Client = tuple[bytes | None, bytes | None]
"""What a client says of its language and its version, as it came."""

Later = Callable[[str, bytes, Client], Awaitable[Reply]]
"""Answers a request that came with a key of the environment: an endpoint's name, a body, and whose client asks."""

_MOST_CLIENTS: Final = 256


class HotRoute:
    """One hot endpoint and where it is counted."""

    __slots__ = ("answer", "count", "name", "observe")

    def __init__(self, name: str, answer: Answer, metrics: ProxyMetrics) -> None:
        self.name = name
        self.answer = answer
        self.count = metrics.requests.cell(name, "ok", FAST)
        self.observe = metrics.latency.timing(name).observe


class FastEdge:
    """What all connections of the API port share. ``later`` answers what cannot be answered at once."""

    __slots__ = ("_clients", "_metrics", "api_keys", "body_bytes", "later", "rays", "routes", "traces")

    def __init__(
        self,
        answers: dict[bytes, tuple[str, Answer]],
        api_keys: ApiKeys,
        rays: RayIds,
        metrics: ProxyMetrics,
        *,
        later: Later,
        body_bytes: int,
        traces: bool = False,
    ) -> None:
        self.later = later
        self.traces = traces
        self.routes = {target: HotRoute(name, answer, metrics) for target, (name, answer) in answers.items()}
        self.api_keys = api_keys
        self.rays = rays
        self.body_bytes = body_bytes
        self._metrics = metrics
        self._clients: dict[Client, Cell] = {}

    def answer(self, route: HotRoute, body: bytes) -> bytes | None:
        """Answer a hot request. A fault of this code costs speed and is counted; it never costs an answer."""
        try:
            return route.answer(body, self.rays.next())
        except TenantSecurityError:  # the event has no room, and the other way says so
            return None
        except Exception:  # noqa: BLE001 - the other way answers, and says what is wrong
            self._metrics.fast_faults.add()
            return None

    def count_client(self, said: Client) -> None:
        """Count a client by what it says of itself."""
        cell = self._clients.get(said)
        if cell is not None:
            cell.value += 1
            return
        cell = self._metrics.client(*said)
        if cell is not None:
            if len(self._clients) >= _MOST_CLIENTS:
                self._clients.clear()
            self._clients[said] = cell
            cell.value += 1
