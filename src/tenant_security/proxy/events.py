"""Records what happened: one event for every operation and outcome, and for what the application reports."""

import time
from collections.abc import Callable

from tenant_security.crypto.aead import random_bytes
from tenant_security.directory.tenants import TenantDirectory
from tenant_security.proxy.fleet_report import Activity
from tenant_security.proxy.outbox import EventQueue
from tenant_security.proxy.refusal import not_recorded
from tenant_security.service.metrics import Counter
from tenant_security.wire.events import EventRecord, Operation
from tenant_security.wire.proxy_api import RequestBody

_UNKNOWN = ""


class EventRecorder:
    """Gives events their numbers and puts them in the outbox.

    Sequences count per tenant of the directory; all tenants that nobody knows share one, so that made-up tenant ids
    cannot fill the memory.
    """

    def __init__(
        self,
        outbox: EventQueue,
        directory: Callable[[], TenantDirectory],
        *,
        counter: Counter,
        activity: Activity | None = None,
        strict: bool = False,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._outbox = outbox
        self._directory = directory
        self._operations = counter.cell("operation", "recorded"), counter.cell("operation", "dropped")
        self._reported = counter.cell("reported", "recorded"), counter.cell("reported", "dropped")
        self._activity = activity
        self._strict = strict
        self._now_ms = now_ms
        self._serial = 0
        self._sequences: dict[str, int] = {}
        self.instance = random_bytes(8).hex()

    def record(
        self,
        name: str,
        request: RequestBody,
        ray_id: str,
        *,
        tenant_id: str | None = None,
        operation: Operation | None = None,
        time_ms: int | None = None,
    ) -> bool:
        """Record one event about a request; False when the outbox is full and the event was dropped.

        Raises: TenantSecurityError in place of that where every operation must have its event.
        """
        about = request.tenant_id if tenant_id is None else tenant_id
        sequences = self._sequences
        sequence = sequences.get(about)
        counted = about
        if sequence is None:
            counted = about if self._directory().tenant(about) is not None else _UNKNOWN
            sequence = sequences.get(counted, 0)
        sequences[counted] = sequence = sequence + 1
        self._serial += 1
        kept = self._outbox.add(
            EventRecord(
                self._serial,
                sequence,
                self._now_ms() if time_ms is None else time_ms,
                name,
                about,
                self.instance,
                ray_id,
                request.icl_fields,
                request.custom_fields,
                operation,
            )
        )
        if operation is not None and self._activity is not None:
            self._activity.operation(about, operation.count, operation.code)
        recorded, dropped = self._reported if operation is None else self._operations
        (recorded if kept else dropped).value += 1
        if not kept and self._strict:
            raise not_recorded()
        return kept
