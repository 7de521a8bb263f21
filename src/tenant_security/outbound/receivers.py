"""Whom messages may be sent to over something else than HTTP, and what became of each message.

Source: RFC 5425 for syslog over TLS; librelp, "The RELP protocol"; Apache Kafka for the rest.
"""

from typing import Literal, NamedTuple

import msgspec

from tenant_security.outbound.reasons import Reason
from tenant_security.secret import Secret


class ClientIdentity(NamedTuple):
    """A certificate that proves who we are to a peer that asks, and its key, both in PEM. Compared by identity."""

    certificate: bytes
    key: Secret[bytes]


class LineReceiver(msgspec.Struct, frozen=True):
    """Something that takes frames over TLS: syslog with octet counting, or RELP with an answer for each message.

    ``authorities``: the private certificate authorities, in PEM, that alone are trusted; empty: the usual ones.
    """

    protocol: Literal["syslog", "relp"]
    host: str
    port: int
    authorities: bytes = b""
    identity: ClientIdentity | None = None

    def __repr__(self) -> str:
        return f"<LineReceiver {self.protocol}>"


class KafkaCluster(msgspec.Struct, frozen=True):
    """Brokers of one cluster, and how to sign in.

    ``options`` are librdkafka's own, over those that we set.
    """

    brokers: tuple[str, ...]
    tls: bool = True
    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str = ""
    password: Secret[str] | None = None
    authorities: bytes = b""
    identity: ClientIdentity | None = None
    options: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return "<KafkaCluster>"


class Message(NamedTuple):
    """What is sent. ``topic``, ``key`` and ``headers`` are Kafka's; others send the body alone."""

    body: bytes
    topic: str = ""
    key: bytes = b""
    headers: tuple[tuple[str, bytes], ...] = ()


class Unsent(NamedTuple):
    """Why a message did not arrive, as far as anybody knows: no answer came, or the receiver's own ``code`` did."""

    reason: Reason | None
    code: str = ""


Receiver = LineReceiver | KafkaCluster
