"""Every setting of the broker. docs/settings.md prints this."""

from collections.abc import Mapping
from dataclasses import dataclass

from tenant_security.service.logs import log_level
from tenant_security.service.settings import Address, address, integer, ip, read_settings, setting, text


def database_url(written: str) -> str:
    """Read a database's URL: SQLite in a file, or PostgreSQL."""
    if not written.startswith(("sqlite:///", "postgresql://")):
        raise ValueError("sqlite:///path/to/broker.db or postgresql://user:password@host/name")
    return written


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
    create_vendor_token: str = setting(
        "BROKER_SETUP_TOKEN",
        text,
        default="",
        meaning="Who knows it may hand in a new vendor (at least 16 characters). Empty: nobody may over HTTP; "
        "'tenant-security broker add-vendor' always can. Leaked: strangers can make vendors of their own here.",
    )
    log_level: int = setting(
        "RUST_LOG", log_level, default=20, meaning="trace, debug, info, warn, error or off; default info."
    )


def read_broker_settings(environ: Mapping[str, str]) -> BrokerSettings:
    """Read the settings. Raises: SettingsError."""
    return read_settings(BrokerSettings, environ)
