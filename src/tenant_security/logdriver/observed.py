"""What the logdriver counts: every metric family that is counted where things happen. docs/metrics.md explains each."""

import time

from tenant_security import __version__
from tenant_security.service.metrics import Metrics


class LogdriverMetrics:
    """The families that are counted; the others are read at scrape time (see ``status``)."""

    def __init__(self, metrics: Metrics) -> None:
        self.delivered = metrics.counter("tsl_delivered_events", "Events that sinks have taken", "sink")
        self.retried = metrics.counter("tsl_retried_events", "Events that a sink did not take at that time", "sink")
        self.refused = metrics.counter("tsl_refused_events", "Events that became dead letters", "sink")
        self.send_seconds = metrics.histogram("tsl_send_seconds", "Time of sending one batch", "sink")
        self.leases = metrics.counter(
            "tsl_leases",
            "Batches leased from proxies, by outcome: stored, repeated, failed or unacknowledged",
            "outcome",
        )
        self.unreadable = metrics.counter("tsl_unreadable_events", "What proxies sent that is no event; it is not kept")
        self.loop_lag = metrics.histogram("tsl_event_loop_lag_seconds", "How late the event loop runs what is due")
        self.started_at_s = time.time()
        metrics.gauge("tsl_start_time_seconds", "When this process started, Unix time", lambda: self.started_at_s)
        metrics.gauge("tsl_build_info", "The version that runs", lambda: {(__version__,): 1.0}, "version")
