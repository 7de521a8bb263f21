"""``make docs``: write the parts of the pages that the code itself knows.

``python -m docs.generate`` rewrites what stands between the marks in ``settings.md``, ``sinks.md`` and
``events-formats.md``, and all of ``openapi.json`` and ``client/reference.md``;
``python -m docs.generate --check`` changes nothing and fails when one of them is stale.
"""

import argparse
import sys
from enum import Enum
from pathlib import Path
from typing import Any, Final

import msgspec

from docs import events
from docs.client_reference import reference_page
from tenant_security.bridge.settings import BridgeSettings
from tenant_security.broker.settings import BrokerSettings
from tenant_security.logdriver.producers import addresses_of
from tenant_security.logdriver.settings import LogdriverSettings
from tenant_security.outbound.egress import EgressPolicy
from tenant_security.proxy.openapi import openapi_document
from tenant_security.proxy.settings import ProxySettings
from tenant_security.service.settings import Setting, settings_of
from tenant_security.wire import service_env

HERE: Final = Path(__file__).parent
BEGIN: Final = "<!-- begin: written by python -m docs.generate -->"
_EXAMPLES: Final = "<!-- begin: examples, written by python -m docs.generate -->"
END: Final = "<!-- end -->"

_LOGGING: Final = {10: "debug", 20: "info", 30: "warn", 40: "error"}

IDENTITY: Final = {
    service_env.ACCOUNT_ID: "The identity's name in the manifest.",
    service_env.CONFIG_ID: "The identity's number in the manifest.",
    service_env.SEGMENT_ID: "The segment it serves.",
    service_env.ENCRYPTION_PRIVATE_KEY: "Opens what is sealed to this service: base64 of a 32-byte seed. "
    "Lost: make a new identity. Leaked: revoke it and rotate every KMS credential it could read.",
    service_env.SIGNING_PRIVATE_KEY: "Proves who this service is: base64 of a 32-byte seed. Lost or leaked: the same.",
    service_env.ROOT_FINGERPRINT: "The vendor root's fingerprint: the only thing that is trusted before anything was "
    "read. Take it from the vendor's admin, not from where the snapshot comes from.",
}
"""What each name of the service's identity means; all of them are required."""


def default_of(each: Setting[Any]) -> str:
    """Say a setting's default as one would write it in an env file."""
    if each.required:
        return "**required**"
    if each.default is None or each.default in ("", (), EgressPolicy()):
        return ""
    match each.default:
        case bool():
            text = str(each.default).lower()
        case Enum():
            text = str(each.default.value)
        case tuple():
            text = addresses_of(each.default)
        case float():
            text = f"{each.default:g}"
        case _:
            text = _LOGGING[each.default] if each.name == "RUST_LOG" else str(each.default)
    return f"`{text}`"


DAEMONS: dict[str, type[Any]] = {
    "Proxy": ProxySettings,
    "Logdriver": LogdriverSettings,
    "Broker": BrokerSettings,
    "Vendor bridge": BridgeSettings,
}
"""Whose settings ``settings.md`` has, in its order."""


def settings_table() -> str:
    """The tables of ``settings.md``."""
    rows = ["### Identity", "", "Written by `tenant-security identity new` or `identity request`.", ""]
    rows += ["| name | meaning |", "| --- | --- |"]
    rows += [f"| `{name}` | {meaning} |" for name, meaning in IDENTITY.items()]
    for title, kind in DAEMONS.items():
        rows += ["", f"### {title}", "", "| name | default | unit | meaning |", "| --- | --- | --- | --- |"]
        rows += [f"| `{each.name}` | {default_of(each)} | {each.unit} | {each.meaning} |" for each in settings_of(kind)]
    return "\n".join(rows)


def page(name: str, generated: dict[str, str]) -> str:
    """Return a page whose generated parts, each after its mark, are brought up to date. Raises: ValueError."""
    text = (HERE / name).read_text("utf-8")
    for begin, table in generated.items():
        before, _, rest = text.partition(begin)
        _, found, after = rest.partition(END)
        if not found:
            raise ValueError(f"{name} lacks the marks between which a generated part belongs")
        text = f"{before}{begin}\n\n{table}\n\n{END}{after}"
    return text


def openapi_page() -> str:
    """Return ``openapi.json``."""
    return msgspec.json.format(msgspec.json.encode(openapi_document(), order="deterministic"), indent=1).decode() + "\n"


def pages() -> dict[Path, str]:
    """Every generated page and what it should hold."""
    marked = {
        "settings.md": {BEGIN: settings_table()},
        "sinks.md": {BEGIN: events.limits_table()},
        "events-formats.md": {BEGIN: events.meanings_table(), _EXAMPLES: events.examples()},
    }
    found = {HERE / name: page(name, parts) for name, parts in marked.items()}
    return found | {HERE / "openapi.json": openapi_page(), HERE / "client/reference.md": reference_page()}


def stale() -> list[Path]:
    """The generated pages that do not hold what they should."""
    return [path for path, text in pages().items() if not path.exists() or path.read_text("utf-8") != text]


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(prog="python -m docs.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a page is stale")
    if parser.parse_args().check:
        found = stale()
        for path in found:
            sys.stderr.write(f"error: {path.name} is stale; run 'make docs'\n")
        sys.exit(1 if found else 0)
    for path, text in pages().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
