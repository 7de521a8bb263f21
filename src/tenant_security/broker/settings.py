"""Every setting of the broker. docs/settings.md prints this."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tenant_security.broker.people.mail import MailRoute, sender
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.web import Network
from tenant_security.outbound.egress import EgressPolicy, read_allowed
from tenant_security.service.logs import log_level
from tenant_security.service.settings import Address, address, integer, ip, read_settings, setting, text
from tenant_security.service.tls import OPS_AUTHORITIES, OPS_CERTIFICATE, OPS_KEY, OPS_NAMES, TlsFiles, names, tls_files


def database_url(written: str) -> str:
    """Read a database's URL: SQLite in a file, or PostgreSQL."""
    if not written.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("sqlite:///path/to/broker.db or postgresql://user:password@host/name")
    return written


_NO_NETWORKS: Final[tuple[Network, ...]] = ()


def networks(written: str) -> tuple[Network, ...]:
    """Read networks, with commas between them."""
    try:
        return tuple(ipaddress.ip_network(each.strip()) for each in written.split(",") if each.strip())
    except ValueError:
        raise ValueError("networks such as 10.0.0.0/8, with commas between them") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSettings:
    """Read once, at start."""

    database_url: str = setting(
        "BROKER_DATABASE_URL",
        database_url,
        default="sqlite:///broker.db",
        meaning="Where everything is kept: sqlite:///path or postgresql://user:password@host/name. Back it up. Lost: "
        "proxies serve on with what they have; tenant secrets that only it holds are gone. Leaked: sealed configs, "
        "names and times, nothing that opens them.",
    )
    bind_address: str = setting("BROKER_BIND_ADDRESS", ip, default="0.0.0.0", meaning="The IP address to listen on.")  # noqa: S104 - a container's port
    port: int = setting("BROKER_PORT", integer(0, 65_535), default=8080, meaning="The port of the API.")
    public_url: PublicAddress | None = setting(
        "BROKER_PUBLIC_URL",
        PublicAddress.parse,
        meaning="The address that people type, such as https://broker.example.com: passkeys and single sign-on are "
        "bound to it, and requests from other pages are refused by it. Default: http://localhost with BROKER_PORT.",
    )
    key_file: Path = setting(
        "BROKER_KEY_FILE",
        Path,
        default=Path("broker.key"),
        meaning="The broker's own key, made when the file is not there; the same for all processes of a broker. A key "
        "to a line, base64 of 32 bytes: the first seals, all open. Lost: authenticators and single sign-on are set up "
        "anew. Leaked, together with the database: authenticators' codes can be made.",
    )
    trusted_proxies: tuple[Network, ...] = setting(
        "BROKER_TRUSTED_PROXIES",
        networks,
        default=_NO_NETWORKS,
        meaning="The load balancers in front, as networks with commas between them: their X-Forwarded-For says who "
        "asks. Without it failed sign-ins of everybody behind one count as one address's.",
    )
    ops_bind_address: Address | None = setting(
        "BROKER_OPS_BIND_ADDRESS",
        address,
        meaning="host:port of health and metrics; default: BROKER_BIND_ADDRESS and port 9002.",
    )
    most_connections: int = setting(
        "BROKER_MAX_CONNECTIONS",
        integer(1, 100_000),
        default=10_000,
        unit="connections",
        meaning="Connections at a time; one waits for news for each service.",
    )
    egress_allow: EgressPolicy = setting(
        "BROKER_EGRESS_ALLOW",
        read_allowed,
        default=EgressPolicy(),
        meaning="Where single sign-on's providers may be beyond the public internet: networks, addresses, names and "
        "`*.` suffixes, divided by commas, such as `sso.corp.example` (docs/egress.md).",
    )
    mail_route: MailRoute | None = setting(
        "BROKER_SMTP_URL",
        MailRoute.parse,
        meaning="How invitations are mailed: smtp://user:password@host:587 (STARTTLS), smtps://user:password@host:465, "
        "smtp-plain://host:25 for a relay on this machine, file:///directory or console: for development. Empty: "
        "no mail; whoever invites brings the link along.",
    )
    mail_sender: str = setting(
        "BROKER_MAIL_FROM",
        sender,
        default="broker@localhost",
        meaning="Whom mail comes from: Acme <broker@acme.example>.",
    )
    session_idle_s: int = setting(
        "BROKER_SESSION_IDLE_SECONDS",
        integer(300, 86_400),
        default=1_800,
        unit="seconds",
        meaning="How long nobody may use a session of the web app until it ends; its keys are closed in the browser.",
    )
    session_life_s: int = setting(
        "BROKER_SESSION_SECONDS",
        integer(300, 7 * 86_400),
        default=43_200,
        unit="seconds",
        meaning="How long a session of the web app lasts at most, from sign-in on.",
    )
    create_vendor_token: str = setting(
        "BROKER_SETUP_TOKEN",
        text,
        default="",
        meaning="Who knows it may sign up and hand in a new vendor (at least 16 characters). Empty: only "
        "while there is no vendor, with the link that the broker prints when it starts. Leaked: strangers can make "
        "vendors of their own here.",
    )
    tls_certificate: Path | None = setting(
        "BROKER_TLS_CERTIFICATE_FILE",
        Path,
        meaning="PEM of the certificate, with its chain: with it the port speaks HTTPS only. Read again on change.",
    )
    tls_key: Path | None = setting("BROKER_TLS_KEY_FILE", Path, meaning="PEM of its private key, not encrypted.")
    tls_client_authorities: Path | None = setting(
        "BROKER_TLS_CLIENT_CA_FILE",
        Path,
        meaning="PEM of the authorities whose certificates clients must show. Browsers must show one too.",
    )
    tls_client_names: frozenset[str] = setting(
        "BROKER_TLS_CLIENT_NAMES",
        names,
        default=frozenset[str](),
        meaning="Which clients: DNS names or URIs of their certificates, divided by commas. Empty: all certified ones.",
    )
    ops_tls_certificate: Path | None = setting("BROKER_OPS_TLS_CERTIFICATE_FILE", Path, meaning=OPS_CERTIFICATE)
    ops_tls_key: Path | None = setting("BROKER_OPS_TLS_KEY_FILE", Path, meaning=OPS_KEY)
    ops_tls_client_authorities: Path | None = setting("BROKER_OPS_TLS_CLIENT_CA_FILE", Path, meaning=OPS_AUTHORITIES)
    ops_tls_client_names: frozenset[str] = setting(
        "BROKER_OPS_TLS_CLIENT_NAMES", names, default=frozenset[str](), meaning=OPS_NAMES
    )
    reload_file: Path | None = setting(
        "BROKER_RELOAD_FILE",
        Path,
        meaning="An env file whose RUST_LOG is used in place of the environment's whenever it changes, and on "
        "SIGHUP, without a restart. Its other lines are left alone.",
    )
    log_level: int = setting(
        "RUST_LOG", log_level, default=20, meaning="trace, debug, info, warn, error or off; default info."
    )

    @property
    def ops_address(self) -> Address:
        """Where health and metrics listen."""
        return self.ops_bind_address or Address(self.bind_address, 9002)

    @property
    def public(self) -> PublicAddress:
        """Where browsers find the broker."""
        return self.public_url or PublicAddress.parse(f"http://localhost:{self.port or 80}")

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS, or None for plain HTTP. Raises: SettingsError."""
        return tls_files(self.tls_certificate, self.tls_key, self.tls_client_authorities, "BROKER")

    @property
    def ops_tls(self) -> TlsFiles | None:
        """The same for health and metrics. Raises: SettingsError."""
        return tls_files(self.ops_tls_certificate, self.ops_tls_key, self.ops_tls_client_authorities, "BROKER_OPS")


def read_broker_settings(environ: Mapping[str, str]) -> BrokerSettings:
    """Read the settings. Raises: SettingsError."""
    return read_settings(BrokerSettings, environ)
