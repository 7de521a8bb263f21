"""Every setting of the vendor bridge. docs/settings.md prints this."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret
from tenant_security.service.logs import log_level
from tenant_security.service.settings import integer, ip, read_settings, secret, setting
from tenant_security.service.tls import TlsFiles, names, tls_files
from tenant_security.wire.service_env import ServiceCredentials, credentials_from_env


def broker_url(written: str) -> str:
    """Read the broker's address."""
    address = written.rstrip("/")
    if not address.startswith(("https://", "http://")) or any(each in address for each in " ?#@"):
        raise ValueError("an address such as https://broker.example.com:8080")
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSettings:
    """Read once, at start. The service's identity is read beside it: SERVICE_*, VENDOR_ROOT_FINGERPRINT."""

    broker_url: str = setting(
        "CONFIG_BROKER_URL", broker_url, required=True, meaning="The broker's address, https:// in production."
    )
    api_key: Secret[str] = setting(
        "API_KEY",
        secret,
        required=True,
        meaning="What callers prove themselves with: 'Authorization: vab:1:<API_KEY>'. Leaked: whoever has it can "
        "manage every tenant and every config of the vendor, and read no credentials; make a new one and restart.",
    )
    second_api_key: Secret[str] | None = setting(
        "API_KEY_2", secret, meaning="A second key, accepted beside the first while callers move from one to the other."
    )
    request_timeout_ms: int = setting(
        "VAB_REQUEST_TIMEOUT",
        integer(100, 600_000),
        default=30_000,
        unit="milliseconds",
        meaning="How long one request may take, the broker's part in it included.",
    )
    bind_address: str = setting("BRIDGE_BIND_ADDRESS", ip, default="0.0.0.0", meaning="The IP address to listen on.")  # noqa: S104 - a container's port
    port: int = setting("BRIDGE_PORT", integer(0, 65_535), default=3000, meaning="The port of the API.")
    broker_ca_file: Path | None = setting(
        "CONFIG_BROKER_CA_FILE",
        Path,
        meaning="PEM of the private authorities that sign the broker's certificate; default: the system's.",
    )
    tls_certificate: Path | None = setting(
        "BRIDGE_TLS_CERTIFICATE_FILE",
        Path,
        meaning="PEM of the certificate, with its chain: with it the port speaks HTTPS only. Read again on change.",
    )
    tls_key: Path | None = setting("BRIDGE_TLS_KEY_FILE", Path, meaning="PEM of its private key, not encrypted.")
    tls_client_authorities: Path | None = setting(
        "BRIDGE_TLS_CLIENT_CA_FILE",
        Path,
        meaning="PEM of the authorities whose certificates clients must show. Use private ones.",
    )
    tls_client_names: frozenset[str] = setting(
        "BRIDGE_TLS_CLIENT_NAMES",
        names,
        default=frozenset[str](),
        meaning="Which clients: DNS names or URIs of their certificates, divided by commas. Empty: all certified ones.",
    )
    reload_file: Path | None = setting(
        "BRIDGE_RELOAD_FILE",
        Path,
        meaning="An env file whose API_KEY, API_KEY_2 and RUST_LOG are used in place of the environment's whenever "
        "it changes, and on SIGHUP, without a restart. Its other lines are left alone.",
    )
    log_level: int = setting(
        "RUST_LOG", log_level, default=20, meaning="trace, debug, info, warn, error or off; default info."
    )

    @property
    def tls(self) -> TlsFiles | None:
        """The files of TLS, or None for plain HTTP. Raises: SettingsError."""
        return tls_files(self.tls_certificate, self.tls_key, self.tls_client_authorities, "BRIDGE")


def read_bridge_settings(environ: Mapping[str, str]) -> tuple[BridgeSettings, ServiceCredentials]:
    """Read settings and identity. Raises: SettingsError with every problem of both."""
    problems: list[str] = []
    found: list[object] = []
    for read in (lambda: read_settings(BridgeSettings, environ), lambda: credentials_from_env(environ)):
        try:
            found.append(read())
        except SettingsError as wrong:
            problems += wrong.problems
    if problems:
        raise SettingsError(problems)
    settings, credentials = found
    assert isinstance(settings, BridgeSettings)
    assert isinstance(credentials, ServiceCredentials)
    return settings, credentials
