"""From the directory to lanes: which sinks a tenant has now, and which of them can be used.

What the directory says is put beside what is known on disk: new sinks get a lane, sinks that are gone lose it. What
still waits in a lane that goes is kept as dead letters. Tenants that the directory quarantines keep their lanes, and
these wait: a config that cannot be trusted must not decide where events go.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.directory.tenants import Tenant, TenantDirectory
from tenant_security.errors import TenantSecurityError
from tenant_security.logdriver.delivery import OpenSink
from tenant_security.logdriver.lane import STDOUT, Lane, LaneKey
from tenant_security.logdriver.lane_states import LaneState
from tenant_security.logdriver.sink_tests import sink_of
from tenant_security.sinks.catalog import open_sink
from tenant_security.sinks.sink import Sink, SinkContext
from tenant_security.wire.sink_configs import SinkConfigError, decode_sink_config

PAUSED = "The tenant's entry in the directory cannot be trusted now; its events are kept until it can."
GONE = "The sink was removed while this event waited for it."


class Plan(NamedTuple):
    """What is to change. ``new``: lanes to add, from which position on, and whether it is the tenant's first."""

    new: dict[LaneKey, tuple[int, bool]]
    gone: list[LaneKey]
    by_tenant: dict[str, list[LaneKey]]


def plan(directory: TenantDirectory, known: Mapping[LaneKey, LaneState], end: int) -> Plan:
    """Compare the directory with the lanes that are known. ``end`` is the newest position of the journal.

    A new sink gets what comes from now on; what waits for one that is gone is kept as dead letters.
    """
    wanted: dict[str, list[LaneKey]] = {}
    before: dict[str, list[LaneState]] = {}
    for state in known.values():
        before.setdefault(state.tenant, []).append(state)
    for tenant in directory:
        if tenant.quarantined is not None:
            kept = [state.key for state in before.get(tenant.id, ())]
        else:
            kept = [LaneKey(tenant.id, sink.id) for sink in tenant.sinks]
        if kept:
            wanted[tenant.id] = kept
    new = {key: (end, tenant not in before) for tenant, keys in wanted.items() for key in keys if key not in known}
    every = {key for keys in wanted.values() for key in keys}
    gone = [key for key in known if key not in every and key != STDOUT]
    return Plan(new, gone, wanted)


class _Opened(NamedTuple):
    fingerprint: bytes
    sink: OpenSink | str


class SinkRoutes:
    """The sinks of all lanes, opened when first used.

    Owner: the event loop. ``context`` makes what a sink needs beside its config, for a tenant, and whether the config
    is the vendor's.
    """

    def __init__(self, stdout: Sink, context: Callable[[str, bool], SinkContext], most_open: int = 10_000) -> None:
        self._stdout = OpenSink(stdout)
        self._context = context
        self._most_open = most_open
        self._directory = TenantDirectory()
        self._opened: dict[LaneKey, _Opened] = {}

    def use(self, directory: TenantDirectory) -> None:
        """Take a new directory."""
        self._directory = directory

    def changed(self, directory: TenantDirectory, key: LaneKey) -> bool:
        """Whether a lane's config is another one in this directory than in the one in use."""
        old, new = _config(self._directory, key), _config(directory, key)
        return (old.fingerprint if old else b"") != (new.fingerprint if new else b"")

    def kind(self, key: LaneKey) -> str:
        """The kind of a lane's sink, for people."""
        opened = self._opened.get(key)
        return opened.sink.sink.kind if opened is not None and isinstance(opened.sink, OpenSink) else "unknown"

    def open(self, lane: Lane) -> OpenSink | str:
        """Return a lane's sink, or why it cannot be used now."""
        key = lane.key
        if key == STDOUT:
            return self._stdout
        config = _config(self._directory, key)
        if config is None:
            return PAUSED
        known = self._opened.pop(key, None)
        if known is None or known.fingerprint != config.fingerprint:
            known = _Opened(config.fingerprint, self._open(key.tenant, config))
        self._opened[key] = known
        while len(self._opened) > self._most_open:
            del self._opened[next(iter(self._opened))]
        return known.sink

    def _open(self, tenant: str, config: SealedConfig) -> OpenSink | str:
        try:
            read = decode_sink_config(config.plaintext())
            return OpenSink(open_sink(read, self._context(tenant, config.shared)), read.leased_keys == "counts")
        except TenantSecurityError as fault:
            return fault.message
        except SinkConfigError as wrong:
            return str(wrong)


def _config(directory: TenantDirectory, key: LaneKey) -> SealedConfig | None:
    tenant: Tenant | None = directory.tenant(key.tenant)
    if tenant is None or tenant.quarantined is not None:
        return None
    return sink_of(tenant, key.sink)
