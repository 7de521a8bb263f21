"""``tenant-security doctor``: looks at a deployment from where it stands, and says what is wrong and who mends it."""

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from rich.console import Console
from rich.tree import Tree

from tenant_security.cli.doctor_checks import Finding, State, of_broker, of_files, of_http, of_machine, of_settings
from tenant_security.cli.explain import PROBLEM, fail
from tenant_security.outbound.driver import Outbound
from tenant_security.service.settings import Address
from tenant_security.wire.service_env import parse_env

_MARKS: Final = {State.GOOD: "[green]✓[/]", State.WARNING: "[yellow]![/]", State.FAILURE: "[red]✗[/]"}
_WORDS: Final = {State.GOOD: "good", State.WARNING: "warning", State.FAILURE: "failure"}


def doctor(
    *,
    env_file: Path | None = None,
    proxy: str | None = None,
    ops: str | None = None,
    logdriver: str | None = None,
    bridge: str | None = None,
    json: bool = False,
) -> None:
    """Check a deployment and say what is wrong: settings, files, the broker, the identity, clocks, running daemons.

    It changes nothing and asks no KMS. Run it where the proxy runs, with the proxy's environment or its env file.

    Exit codes: 0 nothing is broken (warnings are shown); 1 something is.

    Parameters
    ----------
    env_file
        The env file that the proxy is started with; without it, this command's own environment.
    proxy
        The address of the proxy's API; without it, this machine's at the port of the settings (7777).
    ops
        The address of the proxy's health and metrics; without it, this machine's at the port of the settings (9000).
    logdriver
        The address of a logdriver's health and metrics, such as http://127.0.0.1:9001; without it none is looked at.
    bridge
        The address of a bridge, such as http://127.0.0.1:3000; without it none is looked at.
    json
        Print JSON instead of a tree.
    """
    environ = dict(os.environ)
    if env_file is not None:
        try:
            environ |= parse_env(env_file.read_text())
        except OSError as refused:
            fail(f"{env_file}: {refused.strerror}")
    sections = asyncio.run(_examine(environ, env_file, proxy, ops, [each for each in (logdriver, bridge) if each]))
    if json:
        sys.stdout.write(msgspec.json.encode(_plain(sections)).decode() + "\n")
    else:
        _show(sections)
    if any(each.state is State.FAILURE for section in sections for each in section.findings):
        sys.exit(PROBLEM)


class Section(NamedTuple):
    """What was looked at, and what was found."""

    title: str
    findings: Sequence[Finding]


async def _examine(
    environ: dict[str, str], env_file: Path | None, proxy: str | None, ops: str | None, others: Iterable[str]
) -> list[Section]:
    settings, credentials, found = of_settings(environ)
    proxy = proxy or _here(settings.api_address if settings else None, 7777)
    ops = ops or _here(settings.ops_address if settings else None, 9000)
    sections = [Section("Settings", found), Section("Files", of_files(settings, env_file))]
    async with Outbound() as outbound:
        if settings is not None and credentials is not None and settings.broker_url is not None:
            sections.append(Section("Broker and identity", await of_broker(outbound, settings, credentials)))
        key = environ.get("API_KEY", "")
        sections.append(Section("Proxy", await of_http(outbound, ops, api=proxy, api_key=key)))
        sections.extend([Section(address, await of_http(outbound, address)) for address in others])
    return [*sections, Section("Machine", of_machine())]


def _here(address: Address | None, port: int) -> str:
    """Where a listener of this machine is asked that binds there; one for all addresses, at the loopback one."""
    address = address or Address("127.0.0.1", port)
    return f"http://{address if address.host not in ('0.0.0.0', '::') else Address('127.0.0.1', address.port)}"  # noqa: S104 - compared


def _show(sections: Sequence[Section]) -> None:
    tree = Tree("[bold]tenant-security doctor[/]")
    for section in sections:
        worst = max((each.state for each in section.findings), key=lambda state: state.value, default=State.GOOD)
        branch = tree.add(f"{_MARKS[worst]} [bold]{section.title}[/]")
        for each in section.findings:
            leaf = branch.add(f"{_MARKS[each.state]} {_safe(each.what)}")
            if each.advice:
                leaf.add(f"[dim]{_safe(each.advice)}[/]")
    console = Console()
    console.print(tree)
    counts = [sum(each.state is state for section in sections for each in section.findings) for state in State]
    console.print(f"\n{counts[0]} good, {counts[1]} warnings, {counts[2]} failures")


def _safe(text: str) -> str:
    """What others wrote must not be taken for markup."""
    return text.replace("[", r"\[")


def _plain(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [
        {
            "section": section.title,
            "findings": [
                {"state": _WORDS[each.state], "what": each.what, "advice": each.advice} for each in section.findings
            ],
        }
        for section in sections
    ]
