"""What commands that work at a broker have in common: which vendor, which broker, one event loop, tables or JSON."""

import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from tenant_security.authoring.at_broker import AtBroker
from tenant_security.authoring.keyfiles import write_whole
from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.explain import explained, fail
from tenant_security.outbound.broker import BrokerAccount
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.flow import Flow
from tenant_security.service.settings import http_url

T = TypeVar("T")

_ADDRESS_FILE: Final = "broker.url"
_REQUEST_S: Final = 60.0
_WIDE: Final = 200
"""How wide a table may be where nobody looks at a terminal. Units: letters."""
_LIMITS: Final = OutboundLimits(connect_s=5.0, attempt_s=_REQUEST_S)

VendorDirectory = Annotated[
    Path, Parameter(env_var="TENANT_SECURITY_VENDOR", help="The vendor's directory, made by 'vendor init'.")
]
BrokerUrl = Annotated[
    str,
    Parameter(env_var="CONFIG_BROKER_URL", help="The broker's address; default: the one that 'vendor init' was told."),
]
AuthoritiesFile = Annotated[
    Path | None,
    Parameter(
        env_var="CONFIG_BROKER_CA_FILE", help="Certificate authorities, in PEM, that alone are trusted for the broker."
    ),
]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON for machines.")]


@dataclass(frozen=True)
class At:
    """Which vendor at which broker: options that all these commands take."""

    vendor: VendorDirectory
    broker: BrokerUrl = ""
    ca_file: AuthoritiesFile = None


AtOptions = Annotated[At, Parameter(name="*")]


class Session:
    """A vendor at its broker, while a command runs."""

    def __init__(self, admin: AtBroker, outbound: Outbound) -> None:
        self.admin = admin
        self._outbound = outbound

    @property
    def vendor(self) -> Vendor:
        """The vendor's keys."""
        return self.admin.vendor

    async def run(self, flow: Flow[T]) -> T:
        """Run a talk. Long ones have no deadline of their own; each request of theirs has one."""
        return await self._outbound.run(flow, deadline_s=24 * 3600.0)

    async def publish(self, change: Callable[[Vendor], T]) -> T:
        """Change the vendor's keys: take over what is newer, change it, and hand it in."""
        await self.run(self.admin.pull_keys(to_publish=True))
        result = change(self.vendor)
        await self.run(self.admin.publish_keys())
        return result


def talk(at: At, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do something at the broker; faults of the world become words and exit code 1."""
    with explained():
        vendor = Vendor.load(at.vendor)
        return asyncio.run(_talk(AtBroker(vendor, account_of(at, vendor)), work))


async def _talk(admin: AtBroker, work: Callable[[Session], Awaitable[T]]) -> T:
    async with Outbound(_LIMITS) as outbound:
        return await work(Session(admin, outbound))


def change_keys(at: At, change: Callable[[Vendor], T]) -> tuple[T, bool]:
    """Change a vendor's keys in its directory, and at its broker where it is at one.

    Returns what ``change`` returns, and whether a broker has it.
    """
    with explained():
        if at.broker or remembered_broker(at.vendor):
            return talk(at, lambda session: session.publish(change)), True
        return change(Vendor.load(at.vendor)), False


def account_of(at: At, vendor: Vendor) -> BrokerAccount:
    """Return who the vendor is at its broker. Raises: OSError; ValueError."""
    url = at.broker or remembered_broker(at.vendor)
    if not url:
        fail("which broker? Give --broker https://..., or set CONFIG_BROKER_URL")
    authorities = b"" if at.ca_file is None else at.ca_file.read_bytes()
    return BrokerAccount(
        http_url(url), vendor.admin, lambda: int(time.time()), lambda: secrets.token_urlsafe(16), authorities
    )


def remembered_broker(vendor: Path) -> str:
    """Return the broker that this vendor was made for; empty where there is none."""
    with suppress(OSError):
        return (vendor / _ADDRESS_FILE).read_text().strip()
    return ""


def remember_broker(vendor: Path, url: str) -> None:
    """Write down which broker this vendor is at."""
    write_whole(vendor / _ADDRESS_FILE, [f"{http_url(url)}\n".encode()])


Column = Callable[[Any], object]
Columns = Mapping[str, str | Column]
"""Titles, and the member or the words that stand below each."""


def show(rows: Sequence[msgspec.Struct], columns: Columns, *, as_json: bool) -> None:
    """Print rows as a table, or as JSON with all of their members. ``columns`` maps titles to members."""
    if as_json:
        show_json(rows)
        return
    if not rows:
        print("(none)")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in columns:
        table.add_column(title, overflow="fold")
    for row in rows:
        values = (getattr(row, each) if isinstance(each, str) else each(row) for each in columns.values())
        table.add_row(*(_text(each) for each in values))
    Console(width=None if sys.stdout.isatty() else _WIDE, highlight=False, markup=False).print(table)


def show_json(value: object) -> None:
    """Print JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _text(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return " ".join(map(str, value)) or "-"
        case _:
            return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def when(at_ms: int | None) -> str:
    """Say when something was. Units: Unix milliseconds."""
    return "-" if at_ms is None else f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def host_of(url: str) -> str:
    """Return host and port of an address, for messages."""
    return urlsplit(url).netloc
