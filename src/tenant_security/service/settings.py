"""Settings: one frozen type per daemon, read once from an explicit mapping, every problem reported at once.

Each setting is declared where its field stands, with its environment name, how to read it, its default and what it
means, so that the documentation and ``--help`` can be printed from the same lines.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret

T = TypeVar("T")


class Address(NamedTuple):
    """Where to listen. Port 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """How one setting is named, read and explained."""

    name: str
    read: Callable[[str], T]
    default: T | None
    required: bool
    meaning: str
    unit: str = ""


def setting(
    name: str,
    read: Callable[[str], T],
    *,
    default: T | None = None,
    required: bool = False,
    unit: str = "",
    meaning: str,
) -> Any:
    """Declare one setting as a dataclass field. ``read`` raises ValueError with what it wants instead."""
    declared = Setting(name, read, default, required, meaning, unit)
    return field(metadata={"setting": declared}, default=MISSING if required else default)


def _declared(of: Field[Any]) -> Setting[Any]:
    found = of.metadata["setting"]
    assert isinstance(found, Setting)
    return found


def settings_of(kind: type[Any]) -> list[Setting[Any]]:
    """Every setting of a settings type, in the order of declaration."""
    return [_declared(each) for each in fields(kind)]


def read_settings(kind: type[T], environ: Mapping[str, str]) -> T:
    """Read a settings type from a mapping; an empty value counts as absent.

    Raises: SettingsError with every problem at once. Values never stand in a message.
    """
    problems: list[str] = []
    values: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        declared = _declared(each)
        text = environ.get(declared.name, "").strip()
        if not text:
            if declared.required:
                problems.append(f"{declared.name} is missing: {declared.meaning}")
            continue
        try:
            values[each.name] = declared.read(text)
        except ValueError as wrong:
            problems.append(f"{declared.name} must be {wrong}")
    if problems:
        raise SettingsError(problems)
    return kind(**values)


def text(value: str) -> str:
    """Any text."""
    return value


def secret(value: str) -> Secret[str]:
    """Text that is never shown."""
    return Secret(value)


def flag(value: str) -> bool:
    """``true`` or ``false``."""
    match value.lower():
        case "true" | "1" | "yes" | "on":
            return True
        case "false" | "0" | "no" | "off":
            return False
    raise ValueError("true or false")


def integer(least: int, most: int) -> Callable[[str], int]:
    """A whole number between two bounds, both included."""

    def read(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return number

    return read


def seconds(least: float, most: float) -> Callable[[str], float]:
    """A duration in seconds between two bounds, both included."""

    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:  # also refuses NaN
            raise ValueError(f"a number of seconds from {least:g} to {most:g}")
        return number

    return read


def rate(value: str) -> float:
    """So many a second: more than 0, at most a million."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1e6:  # noqa: PLR2004 - also refuses NaN
        raise ValueError("a number of requests a second, more than 0")
    return number


def address(value: str) -> Address:
    """``host:port``, ``[v6]:port`` or only ``:port``."""
    host, colon, port = value.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - the documented meaning of ":port"
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004
        raise ValueError("an address such as 0.0.0.0:7777")
    return Address(ip(host), int(port))


def ip(value: str) -> str:
    """An IP address or ``localhost``."""
    if value == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError("an IP address") from None


def http_url(value: str) -> str:
    """An address of a server, without a query; a slash at its end is dropped."""
    parts = urlsplit(value.strip())
    try:
        wrong = parts.port == 0
    except ValueError:
        wrong = True
    if wrong or parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("an address such as https://broker.example:8080")
    if parts.query or parts.fragment:
        raise ValueError("an address without '?' and '#'")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
