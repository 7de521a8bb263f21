"""The configs of sinks that speak no HTTP: syslog over TLS, RELP, Kafka. Source: docs/sinks.md."""

import ipaddress
import re
from typing import Annotated, Final, Literal

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.addresses import host_name
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.sinks.members import LineFormat, SinkMembers

Port = Annotated[int, msgspec.Meta(ge=1, le=65_535)]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
Word = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,48}\Z")]
HostText = Annotated[str, msgspec.Meta(pattern=r"^[!-~]{1,255}\Z")]
Topic = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._-]{1,249}\Z")]
"""Source: Apache Kafka, ``Topic.LEGAL_CHARS``."""
Broker = Annotated[str, msgspec.Meta(min_length=3, max_length=300)]

_KEY: Final = re.compile(
    r"\s*-----BEGIN (EC |RSA |)PRIVATE KEY-----[A-Za-z0-9+/=\s]{1,16384}-----END \1PRIVATE KEY-----\s*"
)


class ClientCertificate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What proves who we are to a receiver that asks for a certificate."""

    certificate: str
    """The certificate, and those between it and its authority, in PEM."""
    private_key: Secret[str]
    """Its key, in PEM, without a passphrase."""

    def __post_init__(self) -> None:
        check_authorities(self.certificate, "clientCertificate.certificate")
        if not _KEY.fullmatch(self.private_key.reveal()):
            raise ValueError("clientCertificate.privateKey must be a private key in PEM without a passphrase")


class TlsMembers(SinkMembers, frozen=True, kw_only=True):
    """What receivers over TLS have in common."""

    ca_certificate: str | None = None
    """The private authorities that alone vouch for the receiver, in PEM; the public ones when absent."""
    client_certificate: ClientCertificate | None = None
    format: LineFormat = "native"

    def __post_init__(self) -> None:
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")


class SyslogMembers(TlsMembers, frozen=True, kw_only=True):
    """A receiver of syslog messages in the form of RFC 5424."""

    host: Host
    app_name: Word = "tenant-security"
    hostname: HostText = "-"
    """What stands as the host of every message."""
    facility: Annotated[int, msgspec.Meta(ge=0, le=23)] = 13
    """13 is "log audit"."""
    max_message_bytes: Annotated[int, msgspec.Meta(ge=2_048, le=65_536)] = 8_192
    """The longest message that the receiver takes; a longer event is shortened."""

    def __post_init__(self) -> None:
        host_name(self.host, "host")
        TlsMembers.__post_init__(self)


class SyslogSinkConfig(SyslogMembers, frozen=True, tag="SYSLOG", kw_only=True):
    """Syslog over TLS. Nobody answers: best effort."""

    port: Port = 6514


class RelpSinkConfig(SyslogMembers, frozen=True, tag="RELP", kw_only=True):
    """Syslog over RELP and TLS: every message is acknowledged."""

    port: Port = 2514


class KafkaSignIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A user of the cluster's, by SASL."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
    username: Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
    password: Secret[str]


class KafkaSinkConfig(TlsMembers, frozen=True, tag="KAFKA", kw_only=True):
    """A topic of a Kafka cluster. TLS always, but to this very machine.

    Trust: brokers name each other, and whom they name is connected to without the egress policy's look. So it is for
    configs of the vendor's own, and for tenants' where the operator allows it.
    """

    brokers: Annotated[tuple[Broker, ...], msgspec.Meta(min_length=1, max_length=20)]
    """Some brokers, such as ``kafka-1.acme.example:9093``."""
    topic: Topic
    sasl: KafkaSignIn | None = None

    def __post_init__(self) -> None:
        for broker in self.brokers:
            host, _, port = broker.rpartition(":")
            if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:  # noqa: PLR2004 - TCP's last
                raise ValueError("brokers must be of the form host:port")
            host_name(host.strip("[]"), "brokers")
        TlsMembers.__post_init__(self)

    @property
    def on_this_machine(self) -> bool:
        """Whether all brokers are, so that plain connections are allowed."""
        return all(_is_this_machine(broker.rpartition(":")[0].strip("[]")) for broker in self.brokers)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
