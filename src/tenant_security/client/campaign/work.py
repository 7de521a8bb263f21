"""Runs a campaign: so many at once, no more than so many a second, one outcome each, and a report."""

import binascii
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Final

import msgspec

from tenant_security.client.campaign.journal import CHANGED, FAILED, REKEYED, STORING, Journal, Outcome
from tenant_security.client.campaign.rows import Row, Source
from tenant_security.client.errors import ClientError, DocumentError, KmsError
from tenant_security.client.inspection import Kind, describe
from tenant_security.client.metadata import Metadata
from tenant_security.client.sync_client import TenantSecurityClient
from tenant_security.wire import edek as wire_edek

_FAILURES_TOLD: Final = 100


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign has done. Units: ``seconds``. ``failures`` holds the first hundred; the journal holds all."""

    rows: int
    rekeyed: int
    before: int
    """Rows that an earlier run had rekeyed."""
    changed: int
    failed: int
    by_code: dict[int, int]
    failures: list[Outcome]
    seconds: float
    stopped: str | None = None
    """Why it ended before its end; run it again with the same journal to go on."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a campaign would do, found out without asking anybody."""

    rows: int
    before: int
    tenants: dict[str, int]
    kms_configs: dict[int, int]
    leased: int
    kinds: dict[str, int]
    unreadable: list[str]


class Pacer:
    """Lets no more than so many pass in a second, evenly."""

    def __init__(
        self,
        a_second: float | None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if a_second is not None and a_second <= 0:
            raise ValueError("the rate must be more than 0 a second")
        self._gap_s = 0.0 if a_second is None else 1 / a_second
        self._sleep = sleep
        self._clock = clock
        self._next = clock()

    def wait(self) -> None:
        """Wait for one's turn."""
        now = self._clock()
        if self._next > now:
            self._sleep(self._next - now)
        self._next = max(self._next, now) + self._gap_s


def plan(source: Source, journal: Journal) -> Plan:
    """Look at every row without asking the proxy."""
    tenants: Counter[str] = Counter()
    configs: Counter[int] = Counter()
    kinds: Counter[str] = Counter()
    leased = rows = before = 0
    unreadable: list[str] = []
    for row in source.rows():
        rows += 1
        before += journal.is_done(row.key, row.edek)
        tenants[row.tenant_id] += 1
        found = describe(row.edek.encode())
        kinds[found.kind.value] += 1
        if found.kms_config_id is None:
            unreadable.append(row.key)
            continue
        configs[found.kms_config_id] += 1
        leased += bool(found.leased)
    return Plan(
        rows=rows,
        before=before,
        tenants=dict(tenants),
        kms_configs=dict(configs),
        leased=leased,
        kinds=dict(kinds),
        unreadable=unreadable[:_FAILURES_TOLD],
    )


class Work:
    """One run of a campaign."""

    def __init__(
        self,
        client: TenantSecurityClient,
        source: Source,
        journal: Journal,
        *,
        new_tenant_id: str | None = None,
        requesting_id: str = "rekey-campaign",
        at_once: int = 8,
        pacer: Pacer | None = None,
        verify: bool = True,
        on_row: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._source = source
        self._journal = journal
        self._new_tenant_id = new_tenant_id
        self._requesting_id = requesting_id
        self._at_once = at_once
        self._pacer = pacer or Pacer(None)
        self._verify = verify
        self._on_row = on_row
        self._counts: Counter[str] = Counter()
        self._codes: Counter[int] = Counter()
        self._failures: list[Outcome] = []

    def run(self) -> Report:
        """Rekey every row that is not rekeyed yet. Ctrl-C ends it after the rows that are under way."""
        began, stopped = time.monotonic(), None
        running: dict[Future[str], Row] = {}
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="rekey") as pool:
            try:
                for row in self._left():
                    self._pacer.wait()
                    running[pool.submit(self._rekey, row)] = row
                    if len(running) >= self._at_once:
                        self._settle(running, wait(running, return_when=FIRST_COMPLETED).done)
            except (_StopError, KeyboardInterrupt) as stop:
                stopped = str(stop) or "interrupted"
            # Also when it was interrupted: what the proxy has done already is written down.
            while running:
                try:
                    self._settle(running, wait(running).done)
                except _StopError as stop:
                    stopped = stopped or str(stop)
        if stopped is None:
            self._source.finish(self._journal.new_edek)
        return Report(
            rows=self._counts.total(),
            rekeyed=self._counts[REKEYED],
            before=self._counts["before"],
            changed=self._counts[CHANGED],
            failed=self._counts[FAILED],
            by_code=dict(self._codes),
            failures=self._failures,
            seconds=round(time.monotonic() - began, 3),
            stopped=stopped,
        )

    def _left(self) -> Iterator[Row]:
        for row in self._source.rows():
            if self._journal.is_done(row.key, row.edek):
                self._counts["before"] += 1
                self._on_row()
            elif not self._was_stored(row):
                yield row

    def _was_stored(self, row: Row) -> bool:
        """Whether a campaign that was killed while it changed this row has changed it."""
        begun = self._journal.begun(row.key)
        if begun is None or not self._source.store(row._replace(edek=begun), begun):
            return False
        self._record(Outcome(row.key, REKEYED, row.tenant_id, row.edek, begun))
        return True

    def _rekey(self, row: Row) -> str:
        metadata = Metadata(row.tenant_id, requesting_id=self._requesting_id)
        if describe(row.edek.encode()).kind is Kind.ATTACHED:
            value = binascii.a2b_base64(row.edek)
            moved = self._client.rekey_attached(value, metadata, new_tenant_id=self._new_tenant_id, verify=self._verify)
            return wire_edek.to_base64(moved)
        return self._client.rekey(row.edek, metadata, new_tenant_id=self._new_tenant_id, verify=self._verify)

    def _settle(self, running: dict[Future[str], Row], done: Iterable[Future[str]]) -> None:
        for each in done:
            row = running.pop(each)
            try:
                edek = each.result()
            except (KmsError, DocumentError) as fault:
                self._record(Outcome(row.key, FAILED, row.tenant_id, row.edek, code=fault.code, message=fault.message))
                continue
            except ClientError as fault:
                # The proxy itself is in trouble: every other row would fail of the same.
                raise _StopError(str(fault)) from None
            if self._source.stores:
                self._journal.record(Outcome(row.key, STORING, row.tenant_id, row.edek, edek))
            outcome = REKEYED if self._source.store(row, edek) else CHANGED
            self._record(Outcome(row.key, outcome, row.tenant_id, row.edek, edek if outcome == REKEYED else None))

    def _record(self, outcome: Outcome) -> None:
        self._journal.record(outcome)
        self._counts[outcome.outcome] += 1
        if outcome.code is not None:
            self._codes[outcome.code] += 1
        if outcome.outcome != REKEYED and len(self._failures) < _FAILURES_TOLD:
            self._failures.append(outcome)
        self._on_row()


class _StopError(Exception):
    """The campaign cannot go on now."""
