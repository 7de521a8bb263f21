"""The sockets of a proxy: opened by itself, or by a supervisor for all of its workers."""

import socket
from collections.abc import Callable
from typing import NamedTuple

from tenant_security.errors import SettingsError
from tenant_security.proxy.settings import ProxySettings
from tenant_security.service.fair_accept import Share
from tenant_security.service.http_server import bind, inherited


class Ports(NamedTuple):
    """Where a started proxy listens. ``events`` is None when events go to standard output."""

    api: int
    ops: int
    events: int | None


class Listeners(NamedTuple):
    """Where to listen. ``events`` is None when events go to standard output; ``share`` is set in a worker."""

    api: socket.socket
    ops: socket.socket
    events: socket.socket | None
    share: Share | None = None

    def close(self) -> None:
        """Close all of them."""
        for each in (self.api, self.ops, self.events):
            if each is not None:
                each.close()


def open_listeners(settings: ProxySettings) -> Listeners:
    """Open the sockets that the settings name. Raises: SettingsError with all that are refused."""
    problems: list[str] = []

    def opened(make: Callable[[], socket.socket]) -> socket.socket | None:
        try:
            return make()
        except SettingsError as refused:
            problems.extend(refused.problems)
            return None

    fd = settings.http_fd
    if fd is not None:
        api = opened(lambda: inherited(fd, "TSP_HTTP_FD"))
    else:
        api = opened(lambda: bind(settings.api_address, "TSP_HTTP_BIND_ADDRESS"))
    ops = opened(lambda: bind(settings.ops_address, "TSP_OPS_BIND_ADDRESS"))
    events = None
    if settings.enable_logdriver and settings.event_transport == "http":
        events = opened(lambda: bind(settings.events_address, "TSP_EVENTS_BIND_ADDRESS"))
    if api is None or ops is None or problems:
        for each in (api, ops, events):
            if each is not None:
                each.close()
        raise SettingsError(problems)
    return Listeners(api, ops, events)
