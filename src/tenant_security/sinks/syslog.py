"""Syslog over TLS, and over RELP: messages in the form of RFC 5424 with any of the formats as their text.

Shape: ``<PRI>1 TIME HOST APP INSTANCE EVENT [meta sequenceId="5"][origin software="tenant-security"] TEXT``.

Source: RFC 5424; RFC 5425 for TLS; librelp for RELP.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tenant_security import __version__
from tenant_security.outbound.flow import Flow, UnreachableError, transmit
from tenant_security.outbound.receivers import ClientIdentity, LineReceiver, Message, Unsent
from tenant_security.secret import Secret
from tenant_security.sinks.formats import LINE_FORMATS
from tenant_security.sinks.formats.meanings import succeeded
from tenant_security.sinks.limits import LIMITS
from tenant_security.sinks.sending import Answer, SinkBase, unreachable
from tenant_security.sinks.sink import DELIVERED, Later, Outcome, Piece, Refused, SinkContext
from tenant_security.sinks.stored import StoredEvent
from tenant_security.wire.addresses import host_name
from tenant_security.wire.events import rfc3339
from tenant_security.wire.kms.authorities import authorities_pem
from tenant_security.wire.sinks.receivers import RelpSinkConfig, SyslogSinkConfig, TlsMembers

_NOTICE: Final = 5
_WARNING: Final = 4
_LONGEST_SEQUENCE: Final = 2_147_483_647
_UNPRINTABLE: Final = re.compile(r"[^!-~]")
_MSGID_CHARACTERS: Final = 32


class SyslogSink(SinkBase):
    """One receiver of syslog over TLS. It never answers: what it got, nobody knows."""

    kind = "syslog"
    title = "The syslog receiver"

    def __init__(self, config: SyslogSinkConfig | RelpSinkConfig, context: SinkContext) -> None:
        tag = "SYSLOG" if isinstance(config, SyslogSinkConfig) else "RELP"
        limits = msgspec.structs.replace(LIMITS[tag], most_event_bytes=config.max_message_bytes)
        super().__init__(limits, config.filter, context)
        self._to = LineReceiver(
            "syslog" if tag == "SYSLOG" else "relp",
            host_name(config.host, "host"),
            config.port,
            authorities_pem(config.ca_certificate) if config.ca_certificate else b"",
            identity(config),
        )
        self._format = LINE_FORMATS[config.format]
        self._facility = config.facility
        self._who = f"{config.hostname} {config.app_name}"

    def render(self, event: StoredEvent, shown_ms: int) -> bytes:
        """Return one message."""
        said = event.said
        severity = _WARNING if succeeded(event) is False else _NOTICE
        name = _UNPRINTABLE.sub("_", said.icl_fields.event)[:_MSGID_CHARACTERS]
        sequence = (said.sequence - 1) % _LONGEST_SEQUENCE + 1
        head = (
            f"<{self._facility * 8 + severity}>1 {rfc3339(shown_ms)} {self._who} {_word(said.instance)} {name}"
            f' [meta sequenceId="{sequence}"][origin software="tenant-security" swVersion="{__version__}"] '
        )
        return head.encode() + self._format(event)

    def send(self, pieces: Sequence[Piece]) -> Flow[Answer]:
        """Write messages."""
        sent = yield from transmit(self._to, [Message(piece.body) for piece in pieces])
        return [self._outcome(each) for each in sent]

    def _outcome(self, each: Unsent | None) -> Outcome:
        if each is None:
            return DELIVERED
        if each.reason is not None:
            return unreachable(self.title, UnreachableError(each.reason))
        return Later(f"{self.title} did not take the event.")


class RelpSink(SyslogSink):
    """One receiver of RELP. It answers every message."""

    kind = "relp"
    title = "The RELP receiver"

    def _outcome(self, each: Unsent | None) -> Outcome:
        if each is not None and each.reason is None:
            return Refused(f"{self.title} does not take the event (status {_word(each.code)}).")
        return super()._outcome(each)


def identity(config: TlsMembers) -> ClientIdentity | None:
    """Return the certificate that proves who we are; None where there is none."""
    ours = config.client_certificate
    if ours is None:
        return None
    return ClientIdentity(ours.certificate.encode(), Secret(ours.private_key.reveal().encode()))


def _word(text: str) -> str:
    return _UNPRINTABLE.sub("_", text)[:64] or "-"
