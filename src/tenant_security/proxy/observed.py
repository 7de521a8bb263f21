"""What the proxy counts: every metric family, with its name, in one place. docs/metrics.md explains each."""

import re
import time
from typing import Final

from tenant_security import __version__
from tenant_security.errors import Code
from tenant_security.kms.caller import KmsCallRecord
from tenant_security.service.metrics import Cell, Metrics

_MOST_CLIENTS: Final = 200
LANGUAGES: Final = frozenset({"node", "java", "go", "php", "python", "rust", "kotlin", "ruby", "dotnet"})
_VERSION: Final = re.compile(rb"[0-9]{1,4}(\.[0-9]{1,5}){1,3}([-.+][0-9A-Za-z.]{1,12})?")
FAST: Final = "fast"
SLOW: Final = "slow"
"""Which way a request took: answered synchronously in the protocol, or by the ASGI application."""

_FAULTS: Final = frozenset(str(int(code)) for code in Code)


class ProxyMetrics:
    """The families that are counted where things happen; the others are read at scrape time (see ``app``)."""

    def __init__(self, metrics: Metrics) -> None:
        self.requests = metrics.counter(
            "tsp_requests",
            "Requests by endpoint, code (ok, a fault code, or gone when the client left) and path that served them",
            "route",
            "code",
            "path",
        )
        self.fast_faults = metrics.counter(
            "tsp_fast_path_faults", "Hot requests that the fast path failed on; the other way answered them"
        )
        self.latency = metrics.histogram("tsp_request_seconds", "Time from request to answer", "route")
        self.clients = metrics.counter(
            "tsp_client_requests", "Requests by client language and version", "language", "version", most=_MOST_CLIENTS
        )
        self.kms_calls = metrics.counter(
            "tsp_kms_calls", "KMS calls by outcome: ok or a fault code", "provider", "operation", "outcome"
        )
        self.kms_latency = metrics.histogram("tsp_kms_call_seconds", "Time of KMS calls, waiting included", "provider")
        self.kms_retries = metrics.counter("tsp_kms_retries", "KMS calls that were sent a second time", "provider")
        self.kms_unlisted = metrics.counter(
            "tsp_kms_unlisted_refusals", "Refusals of KMSs with a code that no table of ours lists", "provider"
        )
        self.kms_not_sent = metrics.counter(
            "tsp_kms_calls_not_sent", "KMS calls answered without asking the KMS, by why", "provider", "reason"
        )
        self.spares = metrics.counter("tsp_kms_spares", "What happened where several KMSs wrap a tenant's keys", "what")
        self.leases = metrics.counter("tsp_lease_changes", "What happened to leased keys", "purpose", "change")
        self.secret_answers = metrics.counter(
            "tsp_tenant_secret_refusals",
            "What the broker said of tenant secrets and was not believed: stale, or refused because it is unbound",
            "what",
        )
        self.secret_renewals = metrics.counter(
            "tsp_tenant_secret_renewals",
            "Tenant secrets that were to be wrapped or bound anew: renewed, overtaken by another proxy, or failed",
            "outcome",
        )
        self.events = metrics.counter("tsp_events", "Security events by kind and outcome", "kind", "outcome")
        self.loop_lag = metrics.histogram("tsp_event_loop_lag_seconds", "How late the event loop runs what is due")
        self.started_at_s = time.time()
        metrics.gauge("tsp_start_time_seconds", "When this process started, Unix time", lambda: self.started_at_s)
        metrics.gauge("tsp_build_info", "The version that runs", lambda: {(__version__,): 1.0}, "version")

    def client(self, language: bytes | None, version: bytes | None) -> Cell | None:
        """Return the count of a client by the headers it sends, or None when it does not say who it is."""
        if language is None:
            return None
        name = language.decode("latin-1").lower()
        return self.clients.cell(
            name if name in LANGUAGES else "other",
            version.decode("ascii") if version is not None and _VERSION.fullmatch(version) else "other",
        )

    def kms_call(self, call: KmsCallRecord) -> None:
        """Count one KMS call. One that was not sent says nothing new of the KMS, nor of how fast it is."""
        if call.not_sent:
            self.kms_not_sent.add(call.provider, call.not_sent)
            return
        outcome = call.outcome if call.outcome in _FAULTS or call.outcome == "ok" else "other"
        self.kms_calls.add(call.provider, call.operation, outcome)
        self.kms_latency.observe(call.seconds, call.provider)
        if call.retried:
            self.kms_retries.add(call.provider)
        if not call.listed:
            self.kms_unlisted.add(call.provider)
