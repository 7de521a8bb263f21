"""Every setting of the logdriver: the original's names where it had one, ours beside them. See docs/settings.md."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tenant_security.directory.open_source import SourceSettings
from tenant_security.errors import SettingsError
from tenant_security.logdriver.producers import Producer, read_producers
from tenant_security.logdriver.room import WhenFull
from tenant_security.outbound.egress import EgressPolicy, read_allowed, read_denied
from tenant_security.outbound.special_addresses import Network
from tenant_security.secret import Secret
from tenant_security.service.logs import log_level
from tenant_security.service.settings import (
    Address,
    address,
    flag,
    http_url,
    integer,
    ip,
    read_settings,
    seconds,
    secret,
    setting,
    settings_of,
    text,
)
from tenant_security.service.tls import OPS_AUTHORITIES, OPS_CERTIFICATE, OPS_KEY, OPS_NAMES, TlsFiles, names, tls_files
from tenant_security.wire.event_stream import transport
from tenant_security.wire.service_env import ServiceCredentials, credentials_from_env

_MIB = 1_048_576
_GIB = 1024 * _MIB
_CONFIG_WAIT_S = 25


def _when_full(value: str) -> WhenFull:
    """What to do when the spool is full."""
    try:
        return WhenFull(value)
    except ValueError:
        raise ValueError("block, shed-oldest or shed-newest") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogdriverSettings:
    """Read once, at start; a change needs a restart."""

    api_key: Secret[str] | None = setting(
        "API_KEY", secret, meaning="The proxies' API key: how events are fetched where no LOGDRIVER_EVENT_TOKEN is set."
    )
    producers: tuple[Producer, ...] = setting(
        "LOGDRIVER_EVENT_PRODUCER_URL",
        read_producers,
        default=read_producers("tcp://localhost:5555"),
        meaning="Where to fetch events: one address, or several divided by commas, as tcp://, http:// or https://. "
        "`tcp://host:5555`, as existing deployments have it, means HTTP on that port. A name that stands for "
        "several hosts means all of them; it is resolved again every 30 seconds.",
    )
    event_transport: str = setting(
        "EVENT_TRANSPORT",
        transport,
        default="http",
        meaning="`http`: straight from the proxies. `nats://host:4222` or `tls://host:4222`: from the JetStream that "
        "the proxies publish to (docs/logdriver.md).",
    )
    nats_credentials: Path | None = setting(
        "EVENT_NATS_CREDENTIALS_FILE", Path, meaning="NATS: the credentials file (.creds) to sign in with."
    )
    event_token: Secret[str] | None = setting(
        "LOGDRIVER_EVENT_TOKEN",
        secret,
        meaning="The proxies' TSP_EVENTS_TOKEN, instead of the API key. Leaked: its holder takes events away.",
    )
    event_ca: Path | None = setting(
        "LOGDRIVER_EVENT_TLS_CA_FILE",
        Path,
        meaning="Certificate authorities in PEM that proxies' certificates are checked against; default: the system's.",
    )
    event_certificate: Path | None = setting(
        "LOGDRIVER_EVENT_TLS_CERTIFICATE_FILE", Path, meaning="The certificate to show to proxies that ask for one."
    )
    event_key: Path | None = setting("LOGDRIVER_EVENT_TLS_KEY_FILE", Path, meaning="The key of that certificate.")
    channel_capacity: int = setting(
        "LOGDRIVER_CHANNEL_CAPACITY",
        integer(1, 10_000),
        default=1_000,
        unit="events",
        meaning="The most events fetched at once from one proxy.",
    )
    channel_timeout: str = setting(
        "LOGDRIVER_CHANNEL_TIMEOUT",
        text,
        default="",
        meaning="Accepted and ignored: no event is abandoned between two stages.",
    )
    batch_size: int = setting(
        "LOGDRIVER_SINK_BATCH_SIZE",
        integer(1, 100_000),
        default=1_000,
        unit="events",
        meaning="The most events collected for one sending to a sink; the sink's own limits hold as well.",
    )
    collect_millis: int = setting(
        "LOGDRIVER_BUFFER_POLL_INTERVAL",
        integer(0, 3_600_000),
        default=2_000,
        unit="milliseconds",
        meaning="How old the oldest event of a batch that is not full gets before it is sent.",
    )
    refresh_s: float = setting(
        "LOGDRIVER_CONFIG_REFRESH_INTERVAL",
        seconds(1, 86_400),
        default=600.0,
        unit="seconds",
        meaning="How often the tenants' sink configs are read again, give or take a tenth; SIGHUP does it at once.",
    )
    broker_url: str | None = setting(
        "CONFIG_BROKER_URL",
        http_url,
        meaning="The broker that the tenants come from, as for the proxy. It, or TSP_SNAPSHOT_FILE, must be set.",
    )
    broker_ca_file: Path | None = setting(
        "CONFIG_BROKER_CA_FILE",
        Path,
        meaning="Certificate authorities in PEM that alone are trusted for the broker; default: the system's.",
    )
    config_cache: Path | None = setting(
        "LOGDRIVER_CONFIG_CACHE_DIR",
        Path,
        meaning="Where what the broker sent is kept, sealed as it came, for a start without the broker; default: "
        "`config` in the spool directory.",
    )
    snapshot_bytes: int = setting(
        "TSP_MAX_SNAPSHOT_BYTES",
        integer(_MIB, 64 * _GIB),
        default=_GIB,
        unit="bytes",
        meaning="The largest snapshot that is taken from a broker.",
    )
    snapshot_file: Path | None = setting(
        "TSP_SNAPSHOT_FILE",
        Path,
        meaning="The sealed, signed snapshot of all tenants: the same file that proxies read, and the same setting.",
    )
    spool_directory: Path = setting(
        "LOGDRIVER_SPOOL_DIRECTORY",
        Path,
        default=Path("/logdriver"),
        meaning="Where events are kept until they are delivered. On a disk that outlives the container. Lost: every "
        "event that was not delivered is lost.",
    )
    spool_bytes: int = setting(
        "LOGDRIVER_SPOOL_BYTES",
        integer(8 * _MIB, 1 << 50),
        default=10 * _GIB,
        unit="bytes",
        meaning="The most that waits on the disk. Set it below what the disk has.",
    )
    tenant_bytes: int = setting(
        "LOGDRIVER_TENANT_SPOOL_BYTES",
        integer(_MIB, 1 << 50),
        default=_GIB,
        unit="bytes",
        meaning="The most that waits for one sink of one tenant: a SIEM that is away for long costs nobody else room.",
    )
    when_full: WhenFull = setting(
        "LOGDRIVER_SPOOL_FULL",
        _when_full,
        default=WhenFull.SHED_OLDEST,
        meaning="What to do then: `shed-oldest` or `shed-newest` gives events of that sink up, counts them and tells "
        "the tenant; `block` gives nothing up and fetches no more events, of nobody, until there is room.",
    )
    memory_bytes: int = setting(
        "LOGDRIVER_MEMORY_BYTES",
        integer(4 * _MIB, 1 << 40),
        default=256 * _MIB,
        unit="bytes",
        meaning="How much of what waits is kept in memory; the rest is on the disk only.",
    )
    segment_bytes: int = setting(
        "LOGDRIVER_SEGMENT_BYTES",
        integer(65_536, 1 << 30),
        default=64 * _MIB,
        unit="bytes",
        meaning="How large a file of the journal gets.",
    )
    sends_at_once: int = setting(
        "LOGDRIVER_SENDS_AT_ONCE",
        integer(1, 10_000),
        default=256,
        unit="batches",
        meaning="Batches under way together. Beside them: twice as many that have been under way for two seconds, and "
        "a quarter as many of sinks that failed before.",
    )
    egress_allow: EgressPolicy = setting(
        "TSP_EGRESS_ALLOW",
        read_allowed,
        default=EgressPolicy(),
        meaning="What sinks' addresses may reach beyond the public internet (docs/egress.md).",
    )
    egress_deny: tuple[Network, ...] | None = setting(
        "TSP_EGRESS_DENY", read_denied, meaning="Public networks that sinks' addresses may not reach."
    )
    kafka_for_tenants: bool = setting(
        "LOGDRIVER_KAFKA_FOR_TENANTS",
        flag,
        default=False,
        meaning="Whether tenants may have sinks of type KAFKA. Brokers name each other, and whom they name is reached "
        "over TLS without the egress policy's look. The vendor's own sinks always may.",
    )
    bind_address: str = setting(
        "LOGDRIVER_BIND_ADDRESS",
        ip,
        default="0.0.0.0",  # noqa: S104 - in a container, as the original
        meaning="The IP address of the ops port.",
    )
    ops_bind_address: Address | None = setting(
        "LOGDRIVER_OPS_BIND_ADDRESS",
        address,
        meaning="host:port of health and metrics; default: LOGDRIVER_BIND_ADDRESS and port 9001.",
    )
    drain_s: float = setting(
        "LOGDRIVER_DRAIN_SECONDS",
        seconds(0, 3600),
        default=10.0,
        unit="seconds",
        meaning="After SIGTERM: how long what waits may still be delivered. The rest follows after the next start.",
    )
    ops_tls_certificate: Path | None = setting("LOGDRIVER_OPS_TLS_CERTIFICATE_FILE", Path, meaning=OPS_CERTIFICATE)
    ops_tls_key: Path | None = setting("LOGDRIVER_OPS_TLS_KEY_FILE", Path, meaning=OPS_KEY)
    ops_tls_client_authorities: Path | None = setting("LOGDRIVER_OPS_TLS_CLIENT_CA_FILE", Path, meaning=OPS_AUTHORITIES)
    ops_tls_client_names: frozenset[str] = setting(
        "LOGDRIVER_OPS_TLS_CLIENT_NAMES", names, default=frozenset[str](), meaning=OPS_NAMES
    )
    reload_file: Path | None = setting(
        "LOGDRIVER_RELOAD_FILE",
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
        return self.ops_bind_address or Address(self.bind_address, 9001)

    @property
    def ops_tls(self) -> TlsFiles | None:
        """The files of TLS of health and metrics, or None for plain HTTP. Raises: SettingsError."""
        return tls_files(self.ops_tls_certificate, self.ops_tls_key, self.ops_tls_client_authorities, "LOGDRIVER_OPS")

    @property
    def egress(self) -> EgressPolicy:
        """Where requests may go whose address a tenant wrote."""
        return msgspec.structs.replace(self.egress_allow, denied=self.egress_deny or ())

    @property
    def source(self) -> SourceSettings:
        """Where the tenants come from."""
        return SourceSettings(
            self.snapshot_file,
            self.broker_url,
            self.broker_ca_file,
            self.config_cache or self.spool_directory / "config",
            _CONFIG_WAIT_S,
            self.refresh_s,
            self.snapshot_bytes,
        )

    @property
    def key(self) -> Secret[str] | None:
        """What is shown to proxies."""
        return self.event_token or self.api_key

    def tls(self) -> ssl.SSLContext | None:
        """The TLS context towards proxies; None where none is asked over TLS. Raises: SettingsError."""
        if not any(each.secure for each in self.producers):
            return None
        return client_tls(self.event_ca, self.event_certificate, self.event_key)


def client_tls(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext:
    """Make a TLS context from files. Raises: SettingsError."""
    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as wrong:
        raise SettingsError([f"LOGDRIVER_EVENT_TLS_*: the files cannot be used: {wrong.strerror or wrong}"]) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def read_logdriver_settings(environ: Mapping[str, str]) -> tuple[LogdriverSettings, ServiceCredentials]:
    """Read the settings and the service's identity. Raises: SettingsError with every problem of both at once."""
    problems: list[str] = []
    settings = credentials = None
    try:
        settings = read_settings(LogdriverSettings, environ)
        if settings.key is None and settings.event_transport == "http":
            problems.append("API_KEY or LOGDRIVER_EVENT_TOKEN is needed: proxies give events to nobody without it")
        if (settings.snapshot_file is None) == (settings.broker_url is None):
            problems.append("CONFIG_BROKER_URL or TSP_SNAPSHOT_FILE is needed, and only one: who the tenants are")
    except SettingsError as wrong:
        problems += wrong.problems
    try:
        credentials = credentials_from_env(environ)
    except SettingsError as wrong:
        problems += wrong.problems
    if settings is None or credentials is None or problems:
        raise SettingsError(problems)
    return settings, credentials


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """Return the names that look like settings of the logdriver and are none: most likely misspelt."""
    known = {each.name for each in settings_of(LogdriverSettings)}
    return sorted(name for name in environ if name.startswith("LOGDRIVER_") and name not in known)
