"""Every test here runs on the event loop of production, and the edge sweeps often enough not to keep tests waiting."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tenant_security.service import http_server


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The daemons run on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def _sweep_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "_TICK_S", 0.02)
