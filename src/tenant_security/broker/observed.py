"""What the broker says of itself on its ops port. docs/metrics.md explains each metric."""

import time
from collections.abc import Callable
from typing import Final

from tenant_security import __version__
from tenant_security.broker.published import Published
from tenant_security.service.http_server import HttpServer
from tenant_security.service.metrics import Metrics
from tenant_security.service.ops import STATUS, Check, Health, Stage


class Observed:
    """Counts of one broker process. Owner: its event loop."""

    def __init__(self, published: Published, server: HttpServer, stage: Callable[[], Stage]) -> None:
        self.metrics: Final = Metrics()
        self._stage: Final = stage
        self._database_answers = True
        self._started_at_s: Final = time.time()
        add = self.metrics.gauge
        add("tsb_ready", "1 while requests are served", lambda: stage() is Stage.READY)
        add("tsb_database_up", "1 while the database answered when it was last asked", lambda: self._database_answers)
        add("tsb_connections", "Open connections", lambda: server.connections)
        add("tsb_waiting_services", "Services that wait for news", lambda: published.waiting)
        add("tsb_start_time_seconds", "When this process started, Unix time", lambda: self._started_at_s)
        add("tsb_build_info", "The version that runs", lambda: {(__version__,): 1.0}, "version")
        self.metrics.tally(
            "tsb_snapshots",
            "Requests for a snapshot by answer: unchanged, changes, whole or revoked",
            lambda: {(answer,): float(count) for answer, count in published.answers.items()},
            "answer",
        )
        self.metrics.tally(
            "tsb_refused_connections",
            "Connections ended by the edge since the start, by HTTP status or reason",
            lambda: {(reason,): float(count) for reason, count in server.state.refused.items()},
            "reason",
        )

    def database(self, *, answers: bool) -> None:
        """Note whether the database answered."""
        self._database_answers = answers

    def health(self) -> Health:
        """Say how the broker is."""
        database = Check("database", "UP" if self._database_answers else "DOWN")
        return Health(STATUS[self._stage()], __version__, [database])

    def stage(self) -> Stage:
        """Ready only while the database answers: another broker may reach it."""
        stage = self._stage()
        return Stage.STARTING if stage is Stage.READY and not self._database_answers else stage
