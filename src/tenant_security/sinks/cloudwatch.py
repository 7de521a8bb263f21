"""AWS CloudWatch Logs: one stream of a log group.

A batch is in the order of time, spans less than a day, and what is too old or too new is named in the answer.

Source: CloudWatch Logs API reference, "PutLogEvents", "CreateLogStream".
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from tenant_security.outbound.flow import Flow, Request, Response
from tenant_security.sinks.aws import AwsAccount, endpoint, error_code, refusal
from tenant_security.sinks.formats import JSON_FORMATS
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, Halve, SinkBase
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.sinks.aws import CloudWatchSinkConfig

EVENT_OVERHEAD_BYTES: Final = 26
"""What CloudWatch adds for each event when it counts the size of a batch."""
_OK: Final = 200
_CAP_BYTES: Final = 65_536
_DOES_NOT_EXIST: Final = "ResourceNotFoundException"
_EXISTS: Final = "ResourceAlreadyExistsException"


class _Rejected(msgspec.Struct, rename="camel"):
    """Indexes into the batch: events from ``too_new_log_event_start_index`` on, and those before the ends."""

    too_new_log_event_start_index: int | None = None
    too_old_log_event_end_index: int | None = None
    expired_log_event_end_index: int | None = None


class _Reply(msgspec.Struct, rename="camel"):
    rejected_log_events_info: _Rejected | None = None


class CloudWatchSink(SinkBase):
    """One stream of one log group."""

    kind = "cloudwatch"
    title = "CloudWatch Logs"
    between = EVENT_OVERHEAD_BYTES

    def __init__(self, config: CloudWatchSinkConfig, context: SinkContext) -> None:
        super().__init__(LIMITS["AWS_CLOUDWATCH"], config.filter, context)
        self._account = AwsAccount(config.credentials, config.region, config.sts_endpoint, context.now)
        self._endpoint = endpoint("logs", config.region, config.endpoint, "endpoint")
        self._where = {"logGroupName": config.log_group, "logStreamName": config.log_stream}
        self._format = JSON_FORMATS[config.format]

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:  # noqa: ARG002 - it stands beside the message
        """Return one message."""
        return self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Put events in the order of time; make the stream where it is missing."""
        order = sorted(range(len(pieces)), key=lambda index: pieces[index].time_ms)
        events = [{"timestamp": pieces[index].time_ms, "message": pieces[index].body.decode()} for index in order]
        body = msgspec.json.encode(self._where | {"logEvents": events})
        response = yield from self._call("PutLogEvents", body)
        if error_code(response) == _DOES_NOT_EXIST:
            made = yield from self._call("CreateLogStream", msgspec.json.encode(self._where))
            if error_code(made) == _DOES_NOT_EXIST:
                return Later("CloudWatch Logs has no such log group. Create it, or mend logGroup.", blocked=True)
            if made.status != _OK and error_code(made) != _EXISTS:
                return refusal(self.title, made)
            response = yield from self._call("PutLogEvents", body)
        return self._judge(response, order)

    def _call(self, operation: str, body: bytes) -> Flow[Response]:
        headers = (
            ("Content-Type", "application/x-amz-json-1.1"),
            ("X-Amz-Target", f"Logs_20140328.{operation}"),
        )
        return self._account.call("logs", Request("POST", self._endpoint, headers, body, _CAP_BYTES))

    def _judge(self, response: Response, order: Sequence[int]) -> Answer:
        if response.status != _OK:
            if error_code(response) == "InvalidParameterException":
                return Halve("CloudWatch Logs does not take the event (InvalidParameterException).")
            return refusal(self.title, response)
        try:
            rejected = msgspec.json.decode(response.body, type=_Reply).rejected_log_events_info
        except (msgspec.DecodeError, UnicodeDecodeError):
            rejected = None
        outcomes: list[Outcome] = [DELIVERED] * len(order)
        if rejected is not None:
            low = max(rejected.too_old_log_event_end_index or 0, rejected.expired_log_event_end_index or 0)
            high = rejected.too_new_log_event_start_index
            for place, index in enumerate(order):
                if place < low or (high is not None and place >= high):
                    outcomes[index] = Refused("CloudWatch Logs finds the event too old or too new.")
        return outcomes
