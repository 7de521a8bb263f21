"""Every setting of the proxy: the original's names where it had one, ours beside them. docs/settings.md prints this."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.errors import SettingsError
from tenant_security.kms.own_identity import NOBODY, read_own_identity
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
    rate,
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


class WhenFull(Enum):
    """What to do when an event cannot be recorded."""

    DROP = "drop"
    REFUSE = "refuse"


def read_when_full(text: str) -> WhenFull:
    """Read the choice."""
    try:
        return WhenFull(text)
    except ValueError:
        raise ValueError("drop or refuse") from None


_ANYBODY: Final[frozenset[str]] = frozenset()
_TLS: Final = ("CERTIFICATE_FILE", "KEY_FILE", "CLIENT_CA_FILE")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """Read once, at start; a change needs a restart, except where a setting says otherwise."""

    api_key: Secret[str] = setting(
        "API_KEY",
        secret,
        required=True,
        meaning="The key applications present. Lost: make a new one. Leaked: its holder can unwrap for every tenant.",
    )
    api_key_2: Secret[str] | None = setting(
        "API_KEY_2", secret, meaning="A second accepted key, so that applications can move from one to the other."
    )
    broker_url: str | None = setting(
        "CONFIG_BROKER_URL",
        http_url,
        meaning="The broker that the tenants come from and that keeps their secrets, such as "
        "https://broker.example:8080. It, or TSP_SNAPSHOT_FILE, must be set.",
    )
    broker_ca_file: Path | None = setting(
        "CONFIG_BROKER_CA_FILE",
        Path,
        meaning="Certificate authorities in PEM that alone are trusted for the broker; default: the system's.",
    )
    config_cache: Path | None = setting(
        "TSP_CONFIG_CACHE_DIR",
        Path,
        meaning="Where what the broker sent is kept, sealed, for a start without the broker: configs, and the tenant "
        "secrets that were used. Lost: the next start needs the broker. Leaked: ciphertext.",
    )
    config_wait_s: int = setting(
        "TSP_CONFIG_WAIT_SECONDS",
        integer(0, 30),
        default=25,
        unit="seconds",
        meaning="How long one question to the broker waits for news: a change or a revocation arrives within a "
        "second or two. 0: ask every TSP_CONFIG_REFRESH_SECONDS instead.",
    )
    oldest_snapshot: int = setting(
        "TSP_OLDEST_SNAPSHOT_VERSION",
        integer(0, 2**62),
        default=0,
        meaning="Refuse snapshots of a lower version, also at the first start: against being set back to an old one.",
    )
    snapshot_bytes: int = setting(
        "TSP_MAX_SNAPSHOT_BYTES",
        integer(_MIB, 64 * 1024 * _MIB),
        default=1024 * _MIB,
        unit="bytes",
        meaning="The largest snapshot that is taken from a broker.",
    )
    status_s: float = setting(
        "TSP_STATUS_SECONDS",
        seconds(1, 86_400),
        default=60.0,
        unit="seconds",
        meaning="How often the proxy tells the broker how it is: version, health, and counts for each tenant.",
    )
    reload_file: Path | None = setting(
        "TSP_RELOAD_FILE",
        Path,
        meaning="An env file whose API_KEY, API_KEY_2 and RUST_LOG are used in place of the environment's whenever it "
        "changes, and on SIGHUP, without a restart. Its other lines are left alone.",
    )
    applications_file: Path | None = setting(
        "TSP_APPLICATIONS_FILE",
        Path,
        meaning="Further API keys, each of an application with its own operations, tenants and rate "
        "(docs/api-keys.md). Read again when it changes, and on SIGHUP. Leaked: names and rights, no keys.",
    )
    tenant_rates: float | None = setting(
        "TSP_TENANT_REQUESTS_PER_SECOND",
        rate,
        unit="requests/s",
        meaning="How many requests one process answers for one tenant each second, all applications together; past it "
        "they get 429 with Retry-After. Not set: as many as come.",
    )
    snapshot_file: Path | None = setting(
        "TSP_SNAPSHOT_FILE",
        Path,
        meaning="The sealed, signed snapshot of all tenants, where there is no broker. Read again on SIGHUP.",
    )
    refresh_s: float = setting(
        "TSP_CONFIG_REFRESH_SECONDS",
        seconds(1, 86_400),
        default=600.0,
        unit="seconds",
        meaning="How often the tenants are read again where nothing tells of news, give or take a tenth: how long a "
        "revoked tenant is still served, unless a refresh fails.",
    )
    secrets_file: Path | None = setting(
        "TSP_TENANT_SECRETS_FILE",
        Path,
        meaning="Where tenant secrets are stored, wrapped by the tenants' KMSs. Keep it and back it up: without it "
        "deterministic data is unreadable for ever. Not set: keys are not derived (401), everything else works.",
    )
    accept_unbound_secrets: bool = setting(
        "TSP_ACCEPT_UNBOUND_SECRETS",
        flag,
        default=False,
        meaning="Take tenant secrets from the broker of which no proxy signed where they belong: those that were made "
        "before this was done. While it is set, the broker is believed about them.",
    )
    bind_address: str = setting("TSP_BIND_ADDRESS", ip, default="0.0.0.0", meaning="The IP address of all listeners.")  # noqa: S104 - the original's default
    http_bind_address: Address | None = setting(
        "TSP_HTTP_BIND_ADDRESS", address, meaning="host:port of the API; default: TSP_BIND_ADDRESS and port 7777."
    )
    ops_bind_address: Address | None = setting(
        "TSP_OPS_BIND_ADDRESS",
        address,
        meaning="host:port of health and metrics; default: TSP_BIND_ADDRESS and port 9000.",
    )
    events_bind_address: Address | None = setting(
        "TSP_EVENTS_BIND_ADDRESS",
        address,
        meaning="host:port where logdrivers fetch events; default: TSP_BIND_ADDRESS and port 5555.",
    )
    http_fd: int | None = setting(
        "TSP_HTTP_FD",
        integer(3, 65_535),
        meaning="A listening socket inherited from the parent process, instead of TSP_HTTP_BIND_ADDRESS.",
    )
    tls_certificate: Path | None = setting(
        "TSP_TLS_CERTIFICATE_FILE",
        Path,
        meaning="PEM of the certificate, with its chain, for the API and the events port: with it they speak HTTPS "
        "only. It and the next two are read again when they change, and on SIGHUP.",
    )
    tls_key: Path | None = setting(
        "TSP_TLS_KEY_FILE",
        Path,
        meaning="PEM of the certificate's private key, not encrypted. Leaked: whoever has it can pass for this proxy.",
    )
    tls_client_authorities: Path | None = setting(
        "TSP_TLS_CLIENT_CA_FILE",
        Path,
        meaning="PEM of the authorities whose certificates clients must show, beside the API key. Use private ones.",
    )
    tls_client_names: frozenset[str] = setting(
        "TSP_TLS_CLIENT_NAMES",
        names,
        default=_ANYBODY,
        meaning="Which clients may use the API: DNS names or URIs of their certificates, divided by commas. Empty: all "
        "that the authorities certified.",
    )
    ops_tls_certificate: Path | None = setting("TSP_OPS_TLS_CERTIFICATE_FILE", Path, meaning=OPS_CERTIFICATE)
    ops_tls_key: Path | None = setting("TSP_OPS_TLS_KEY_FILE", Path, meaning=OPS_KEY)
    ops_tls_client_authorities: Path | None = setting("TSP_OPS_TLS_CLIENT_CA_FILE", Path, meaning=OPS_AUTHORITIES)
    ops_tls_client_names: frozenset[str] = setting(
        "TSP_OPS_TLS_CLIENT_NAMES", names, default=frozenset[str](), meaning=OPS_NAMES
    )
    events_client_names: frozenset[str] = setting(
        "TSP_EVENTS_TLS_CLIENT_NAMES",
        names,
        default=_ANYBODY,
        meaning="The same for the events port: the names of logdrivers.",
    )
    workers: int = setting(
        "TSP_WORKERS",
        integer(1, 64),
        default=1,
        unit="processes",
        meaning="Worker processes that share the API port, one for each core it may use (docs/workers.md). Each reads "
        "all tenants and has its own leases; limits count for each.",
    )
    traces_endpoint: str | None = setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        text,
        meaning="Where a collector takes OTLP over HTTP, such as http://collector:4318. With it, requests that carry a "
        "sampled traceparent are traced (docs/tracing.md); they do not take the hot path. Needs the extra 'tracing'.",
    )
    log_level: int = setting(
        "RUST_LOG", log_level, default=20, meaning="trace, debug, info, warn, error or off; default info."
    )
    enable_logdriver: bool = setting(
        "TSP_ENABLE_LOGDRIVER_INTEGRATION",
        flag,
        default=True,
        meaning="Whether logdrivers fetch the events. false: each event is a line on standard output.",
    )
    event_transport: str = setting(
        "EVENT_TRANSPORT",
        transport,
        default="http",
        meaning="`http`: logdrivers fetch events from the events port. `nats://host:4222` or `tls://host:4222`: they "
        "are published to JetStream there, and the events port stays closed (docs/logdriver.md).",
    )
    nats_credentials: Path | None = setting(
        "EVENT_NATS_CREDENTIALS_FILE", Path, meaning="NATS: the credentials file (.creds) to sign in with."
    )
    events_token: Secret[str] | None = setting(
        "TSP_EVENTS_TOKEN",
        secret,
        meaning="What logdrivers show on the events port in place of the API key. Leaked: its holder takes events.",
    )
    outbox_directory: Path | None = setting(
        "TSP_OUTBOX_DIRECTORY",
        Path,
        meaning="Where events wait for a logdriver on disk: they survive a crash of the proxy and need no memory. Not "
        "set: they wait in memory. Lost: the events that no logdriver had.",
    )
    outbox_bytes: int = setting(
        "TSP_OUTBOX_BYTES",
        integer(_MIB, 1 << 50),
        default=1024 * _MIB,
        unit="bytes",
        meaning="How much may wait in that directory, for each worker.",
    )
    events_when_full: WhenFull = setting(
        "TSP_EVENTS_WHEN_FULL",
        read_when_full,
        default=WhenFull.DROP,
        meaning="What to do when an event cannot be recorded. `drop`: serve, count it, and leave its sequence number "
        "unused. `refuse`: refuse the operation with 301 and HTTP 503; with an outbox on disk an operation is answered "
        "only when its event is there (docs/logdriver.md).",
    )
    send_high_water_mark: int = setting(
        "TSP_SEND_HIGH_WATER_MARK",
        integer(0, 10_000_000),
        default=25_000,
        unit="events",
        meaning="The first half of the outbox.",
    )
    event_channel_size: int = setting(
        "TSP_EVENT_LOG_CHANNEL_SIZE",
        integer(1, 10_000_000),
        default=25_000,
        unit="events",
        meaning="The second half of the outbox.",
    )
    send_logging_timeout: str = setting(
        "TSP_SEND_LOGGING_TIMEOUT_MS",
        text,
        default="",
        meaning="Accepted and ignored: no operation waits for its event.",
    )
    ironcore_env: str = setting(
        "IRONCORE_ENV", text, default="", meaning="Accepted and ignored: there is no hosted environment."
    )
    lease_life_s: float = setting(
        "TSP_LEASE_SECONDS",
        seconds(1, 86_400),
        default=600.0,
        unit="seconds",
        meaning="How long a leased key is used: the longest that leased data is served after a tenant revoked its key.",
    )
    lease_most_wraps: int = setting(
        "TSP_LEASE_MAX_WRAPS",
        integer(1, 2**32),
        default=2**24,
        unit="wraps",
        meaning="How many DEKs one leased key wraps. The limit for random IVs is 2^32 (docs/leasing.md).",
    )
    lease_cache: int = setting(
        "TSP_LEASE_CACHE_SIZE",
        integer(1, 10_000_000),
        default=10_000,
        unit="leases",
        meaning="Leased keys kept for unwrapping.",
    )
    secret_cache_s: float = setting(
        "TSP_TENANT_SECRET_CACHE_SECONDS",
        seconds(0, 86_400),
        default=60.0,
        unit="seconds",
        meaning="How long a plain tenant secret is kept for deriving.",
    )
    most_documents: int = setting(
        "TSP_MAX_BATCH",
        integer(1, 1_000_000),
        default=10_000,
        unit="documents",
        meaning="The largest batch; more is refused with 102.",
    )
    most_derivations: int = setting(
        "TSP_MAX_DERIVATIONS",
        integer(1, 1_000_000),
        default=10_000,
        unit="keys",
        meaning="The most keys derived in one request.",
    )
    batch_at_once: int = setting(
        "TSP_BATCH_CONCURRENCY",
        integer(1, 10_000),
        default=32,
        unit="KMS calls",
        meaning="KMS calls of one batch under way together.",
    )
    kms_per_tenant: int = setting(
        "TSP_KMS_CONCURRENCY_PER_TENANT",
        integer(1, 100_000),
        default=64,
        unit="KMS calls",
        meaning="KMS calls of one tenant under way together.",
    )
    kms_per_config: int = setting(
        "TSP_KMS_CONCURRENCY_PER_CONFIG",
        integer(1, 100_000),
        default=4_096,
        unit="KMS calls",
        meaning="KMS calls that use one config under way together: a config of yours may be many tenants'.",
    )
    kms_waiting_per_tenant: int = setting(
        "TSP_KMS_WAITING_PER_TENANT",
        integer(0, 100_000),
        default=1_024,
        unit="KMS calls",
        meaning="KMS calls of one tenant that wait for their turn; more are answered 209 at once.",
    )
    kms_at_once: int = setting(
        "TSP_KMS_CONCURRENCY",
        integer(1, 100_000),
        default=16_384,
        unit="KMS calls",
        meaning="KMS calls of all tenants under way together.",
    )
    kms_deadline_s: float = setting(
        "TSP_KMS_DEADLINE_SECONDS",
        seconds(0.1, 300),
        default=5.0,
        unit="seconds",
        meaning="How long one key operation may wait for a KMS, retry included.",
    )
    kms_connect_s: float = setting(
        "TSP_KMS_CONNECT_SECONDS",
        seconds(0.1, 300),
        default=1.0,
        unit="seconds",
        meaning="How long opening a connection to a KMS may take, TLS included.",
    )
    kms_attempt_s: float = setting(
        "TSP_KMS_ATTEMPT_SECONDS",
        seconds(0.1, 300),
        default=2.5,
        unit="seconds",
        meaning="How long one request to a KMS may take.",
    )
    egress_allow: EgressPolicy = setting(
        "TSP_EGRESS_ALLOW",
        read_allowed,
        default=EgressPolicy(),
        meaning="What addresses written by tenants may reach beyond the public internet: networks, addresses, host "
        "names and `*.` suffixes, divided by commas, such as `10.20.0.0/16,hsm.corp.example` (docs/egress.md).",
    )
    egress_deny: tuple[Network, ...] | None = setting(
        "TSP_EGRESS_DENY",
        read_denied,
        meaning="Networks and addresses that addresses written by tenants may not reach, though they are public: your "
        "own, where what listens trusts its neighbours.",
    )
    head_bytes: int = setting(
        "TSP_MAX_HEADER_BYTES",
        integer(1024, _MIB),
        default=16_384,
        unit="bytes",
        meaning="The largest request line and headers; more answers 431.",
    )
    body_bytes: int = setting(
        "TSP_MAX_BODY_BYTES",
        integer(1024, 1024 * _MIB),
        default=8 * _MIB,
        unit="bytes",
        meaning="The largest request body; more answers 413.",
    )
    receive_s: float = setting(
        "TSP_RECEIVE_SECONDS",
        seconds(0.1, 3600),
        default=10.0,
        unit="seconds",
        meaning="How long a request may take to arrive; then 408.",
    )
    idle_s: float = setting(
        "TSP_KEEP_ALIVE_SECONDS",
        seconds(1, 86_400),
        default=75.0,
        unit="seconds",
        meaning="How long an idle connection is kept.",
    )
    connections: int = setting(
        "TSP_MAX_CONNECTIONS",
        integer(1, 1_000_000),
        default=20_000,
        unit="connections",
        meaning="Open client connections; more are refused with 503.",
    )
    drain_s: float = setting(
        "TSP_DRAIN_SECONDS",
        seconds(0, 3600),
        default=5.0,
        unit="seconds",
        meaning="After SIGTERM: how long requests are still served while clients are told to go elsewhere.",
    )
    stop_s: float = setting(
        "TSP_STOP_SECONDS",
        seconds(0, 3600),
        default=25.0,
        unit="seconds",
        meaning="How long requests in flight may finish after the drain.",
    )
    own_identity: frozenset[str] = setting(
        "TSP_OWN_IDENTITY",
        read_own_identity,
        default=NOBODY,
        meaning="Where the vendor's own KMS configs may use the identity that this proxy's platform gives it: `aws`, "
        "`azure`, `gcp`, `vault`, divided by commas. Configs that tenants wrote never may (docs/kms/README.md).",
    )
    allow_local_kms: bool = setting(
        "TSP_ALLOW_LOCAL_KMS",
        flag,
        default=False,
        meaning="Serve configs of the local KMS, whose key lies in the config itself. For development and tests only.",
    )

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS, or None for plain HTTP. Raises: SettingsError."""
        return tls_files(self.tls_certificate, self.tls_key, self.tls_client_authorities, "TSP")

    @property
    def ops_tls(self) -> TlsFiles | None:
        """The same for health and metrics. Raises: SettingsError."""
        return tls_files(self.ops_tls_certificate, self.ops_tls_key, self.ops_tls_client_authorities, "TSP_OPS")

    @property
    def egress(self) -> EgressPolicy:
        """Where requests may go whose address a tenant wrote."""
        return msgspec.structs.replace(self.egress_allow, denied=self.egress_deny or ())

    @property
    def api_address(self) -> Address:
        """Where the API listens."""
        return self.http_bind_address or Address(self.bind_address, 7777)

    @property
    def ops_address(self) -> Address:
        """Where health and metrics listen."""
        return self.ops_bind_address or Address(self.bind_address, 9000)

    @property
    def events_address(self) -> Address:
        """Where logdrivers fetch events."""
        return self.events_bind_address or Address(self.bind_address, 5555)

    @property
    def api_keys(self) -> list[Secret[str]]:
        """The accepted keys, one or two."""
        return [self.api_key] if self.api_key_2 is None else [self.api_key, self.api_key_2]


def read_proxy_settings(environ: Mapping[str, str]) -> tuple[ProxySettings, ServiceCredentials]:
    """Read the settings and the service's identity.

    Raises: SettingsError with every problem of both at once.
    """
    problems: list[str] = []
    settings = credentials = None
    try:
        settings = read_settings(ProxySettings, environ)
    except SettingsError as wrong:
        problems += wrong.problems
    try:
        credentials = credentials_from_env(environ)
    except SettingsError as wrong:
        problems += wrong.problems
    problems += _contradictions(environ)
    if settings is None or credentials is None or problems:
        raise SettingsError(problems)
    return settings, credentials


def _contradictions(environ: Mapping[str, str]) -> list[str]:
    """Name what cannot be set together, or not be left out together."""
    names = ("CONFIG_BROKER_URL", "TSP_SNAPSHOT_FILE", "TSP_TENANT_SECRETS_FILE")
    broker, snapshot, secrets = (bool(environ.get(name, "").strip()) for name in names)
    problems = []
    if not broker and not snapshot:
        problems.append("neither CONFIG_BROKER_URL nor TSP_SNAPSHOT_FILE is set: say where the tenants come from")
    if broker and snapshot:
        problems.append("CONFIG_BROKER_URL and TSP_SNAPSHOT_FILE are both set: tenants come from one of them")
    if broker and secrets:
        problems.append(
            "CONFIG_BROKER_URL and TSP_TENANT_SECRETS_FILE are both set: a broker keeps the tenant secrets; bring the "
            "file's there with 'tenant-security secrets import' and unset it"
        )
    for prefix in ("TSP", "TSP_OPS"):
        written = (environ.get(f"{prefix}_TLS_{part}", "").strip() for part in _TLS)
        certificate, key, authorities = (Path(each) if each else None for each in written)
        try:
            tls_files(certificate, key, authorities, prefix)
        except SettingsError as wrong:
            problems += wrong.problems
    return problems


def unknown_settings(environ: Mapping[str, str]) -> list[str]:
    """Return the names that look like settings of the proxy and are none: most likely misspelt."""
    known = {each.name for each in settings_of(ProxySettings)}
    return sorted(name for name in environ if name.startswith("TSP_") and name not in known)
