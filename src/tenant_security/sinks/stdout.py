"""Standard output: where events of tenants without a sink go, one line of JSON each, as with the original product."""

from collections.abc import Sequence
from typing import BinaryIO

from tenant_security.outbound.flow import Flow, compute
from tenant_security.sinks.formats import LINE_FORMATS
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase
from tenant_security.sinks.sink import DELIVERED, Later, Piece, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.sink_configs import SinkConfigError
from tenant_security.wire.sinks.stdout import StdoutSinkConfig


class StdoutSink(SinkBase):
    """Writes lines to the stream of the context.

    Raises: SinkConfigError where a tenant asks for it, whose admin cannot read it.
    """

    kind = "stdout"
    title = "Standard output"

    def __init__(self, config: StdoutSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["STDOUT"], config.filter, context)
        if not context.vendor_owned or context.stdout is None:
            raise SinkConfigError("Standard output is for the vendor's own events; choose another type of sink")
        self._stream = context.stdout
        self._format = LINE_FORMATS[config.format]

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - the event says its own time
        """Return one line, without its end."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Write in a thread: whoever reads the other end may be slow."""
        text = b"".join(piece.body + b"\n" for piece in pieces)
        try:
            yield from compute(lambda: _write(self._stream, text))
        except (OSError, ValueError):  # ValueError: the stream is closed
            return Later("Standard output cannot be written.", blocked=True)
        return DELIVERED


def _write(stream: BinaryIO, text: bytes) -> None:
    stream.write(text)
    stream.flush()
