"""Amazon Security Lake: OCSF in Parquet, a custom source for each class, a partition for each day.

Shape: ``ext/<source>-<class>/region=<region>/accountId=<account>/eventDay=<YYYYMMDD>/<first>-<last>-<digest>.parquet``.
``unmapped`` is a map of texts, as a table's columns must not follow what applications write.

Source: Amazon Security Lake User Guide, "Collecting data from custom sources", "Best practices for adding custom
sources"; OCSF 1.8.0.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from tenant_security.outbound.flow import Flow, compute
from tenant_security.sinks.batching import make_batches, make_pieces
from tenant_security.sinks.formats.meanings import OcsfClass
from tenant_security.sinks.formats.ocsf import ocsf
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.s3 import Bucket, object_name, put_once
from tenant_security.sinks.sending import Answer, SinkBase, unix_ms
from tenant_security.sinks.sink import Batch, Encoded, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.sink_configs import SinkConfigError
from tenant_security.wire.sinks.aws import SecurityLakeSinkConfig

Part = tuple[int, str]
"""A class and a day: what the events of one file have in common."""


class _OfClass(msgspec.Struct):
    class_uid: int


class SecurityLakeSink(SinkBase):
    """The custom sources of one account in one region's lake.

    Raises: SinkConfigError where the library that writes Parquet is not installed.
    """

    kind = "security-lake"
    title = "Amazon Security Lake"

    def __init__(self, config: SecurityLakeSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["AWS_SECURITY_LAKE"], config.filter, context)
        try:
            from tenant_security.sinks.formats.parquet import parquet  # noqa: PLC0415 - a large library, and optional
        except ImportError:
            raise SinkConfigError(
                "Security Lake is not available here: its operator must install tenant-security[security-lake]"
            ) from None
        self._parquet = parquet
        self._bucket = Bucket(config, context)
        self._source = config.source
        self._within = f"region={config.region}/accountId={config.account_id}"

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one OCSF event as JSON."""
        return ocsf(event)

    def encode(self, events: Sequence[bytes]) -> Encoded:
        """Make batches of one class and one day each."""
        parts: dict[Part, list[tuple[int, Piece | Refused]]] = {}
        refused: list[tuple[int, Refused]] = []
        for index, piece in make_pieces(events, self.limits, self._chosen, self.render, unix_ms(self.context.now())):
            if isinstance(piece, Refused):
                refused.append((index, piece))
            else:
                parts.setdefault(_part(piece), []).append((index, piece))
        batches: list[Batch] = []
        for pieces in parts.values():
            pieces.sort(key=_time)
            batches += make_batches(pieces, self.limits, around=0, between=1).batches
        return Encoded(tuple(batches), tuple(refused))

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Write one file."""
        class_uid, day = _part(pieces[0])
        content = yield from compute(lambda: self._parquet([piece.body for piece in pieces], OcsfClass(class_uid)))
        where = f"ext/{self._source}-{class_uid}/{self._within}/eventDay={day}"
        key = f"{where}/{object_name(pieces)}.parquet"
        return (yield from put_once(self._bucket, self.title, key, content, "application/vnd.apache.parquet"))


def _part(piece: Piece) -> Part:
    class_uid = msgspec.json.decode(piece.body, type=_OfClass).class_uid
    return class_uid, f"{datetime.fromtimestamp(piece.time_ms / 1000, UTC):%Y%m%d}"


def _time(indexed: tuple[int, Piece | Refused]) -> int:
    assert isinstance(indexed[1], Piece)
    return indexed[1].time_ms
