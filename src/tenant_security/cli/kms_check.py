"""``kms check``: which configs are tested, and how the outcome is printed."""

import asyncio
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tenant_security.authoring.description import Description, config_text, read_description, read_loose
from tenant_security.cli.explain import PROBLEM, explained, fail
from tenant_security.cli.snapshot import load
from tenant_security.errors import TenantSecurityError
from tenant_security.kms.check import DEADLINE_S, check, report_unreadable
from tenant_security.kms.own_identity import OWN_IDENTITIES
from tenant_security.kms.provider import KmsContext
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy, read_allowed
from tenant_security.wire.kms_check import CheckReport
from tenant_security.wire.kms_configs import KmsConfig, decode_kms_config
from tenant_security.wire.service_env import credentials_from_env, parse_env

_FIXERS: Final = {"owner": "the owner of the KMS", "operator": "the operator of this service", "nobody": "time"}
_CONNECT_S: Final = 5.0


class Candidate(NamedTuple):
    """A config to test, or why there is none. ``where`` names it for people."""

    where: str
    config: KmsConfig | TenantSecurityError
    vendor_owned: bool = False


class CheckedConfig(msgspec.Struct, frozen=True, rename="camel"):
    """A tested config, by name."""

    where: str
    report: CheckReport


class Asked(NamedTuple):
    """What the command was asked to test."""

    file: Path
    env_file: Path | None
    tenant: str | None
    config: int | None
    vendor_owned: bool


def run(asked: Asked, *, allow: str, as_json: bool) -> None:
    """Test and print. Exits with 1 when a config does not work."""
    with explained():
        policy = read_allowed(allow)
        found = _of_file(asked) if asked.env_file is None else _of_snapshot(asked, asked.env_file)
        wanted = [each for each in found if asked.config is None or each.where.endswith(f"config {asked.config}")]
        if not wanted:
            fail("there is no such config in the file")
        checked = asyncio.run(_check_all(wanted, policy))
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(checked)).decode())
        else:
            print("\n\n".join("\n".join(_lines(each.where, each.report)) for each in checked))
        if not all(each.report.ok for each in checked):
            sys.exit(PROBLEM)


def _of_file(asked: Asked) -> Iterator[Candidate]:
    loose = read_loose(asked.file)
    if isinstance(loose, dict) and "type" in loose:
        yield Candidate(asked.file.name, _decoded(msgspec.json.encode(loose)), asked.vendor_owned)
    else:
        yield from _of_description(read_description(asked.file), asked.file.parent, asked.tenant)


def _of_description(description: Description, beside: Path, tenant: str | None) -> Iterator[Candidate]:
    for shared in description.configs if tenant is None else ():
        yield Candidate(f"config {shared.id}", _decoded(config_text(shared, beside)), vendor_owned=True)
    for each in description.tenants:
        for used in each.configs if tenant in {None, each.id} else ():
            if used.config is not None or used.config_file is not None:
                yield Candidate(f"tenant {each.id}, config {used.id}", _decoded(config_text(used, beside)))
            elif tenant is not None:
                text = next((config_text(one, beside) for one in description.configs if one.id == used.id), b"")
                yield Candidate(f"tenant {each.id}, config {used.id}", _decoded(text), vendor_owned=True)


def _of_snapshot(asked: Asked, env_file: Path) -> Iterator[Candidate]:
    credentials = credentials_from_env(parse_env(env_file.read_text("utf-8")))
    directory = load(asked.file, credentials.root_fingerprint, credentials)
    for each in directory:
        if asked.tenant not in {None, each.id}:
            continue
        if each.quarantined is not None:
            fail(f"tenant {each.id} is quarantined: {each.quarantined}")
        for use in each.assignments:
            where = f"tenant {each.id}, config {use.config.id}"
            try:
                yield Candidate(where, use.config.open(), use.config.shared)
            except TenantSecurityError as fault:
                yield Candidate(where, fault)


def _decoded(text: bytes) -> KmsConfig | TenantSecurityError:
    try:
        return decode_kms_config(text)
    except TenantSecurityError as fault:
        return fault


async def _check_all(candidates: list[Candidate], policy: EgressPolicy) -> list[CheckedConfig]:
    checked = []
    for where, config, vendor_owned in candidates:
        if isinstance(config, TenantSecurityError):
            report = report_unreadable(config)
        else:
            report = await _check_one(config, policy, vendor_owned=vendor_owned)
        checked.append(CheckedConfig(where, report))
    return checked


async def _check_one(config: KmsConfig, policy: EgressPolicy, *, vendor_owned: bool) -> CheckReport:
    context = KmsContext(
        now=lambda: datetime.now(UTC), vendor_owned=vendor_owned, identities=OWN_IDENTITIES, environ=os.environ
    )
    limits = OutboundLimits(connect_s=_CONNECT_S, attempt_s=DEADLINE_S, shared_s=DEADLINE_S)
    # One for each config: what one signed in with is not another's.
    async with Outbound(limits, egress=policy) as outbound:
        report = await check(config, outbound, context)
        if outbound.traffic.refused:
            report = msgspec.structs.replace(report, notes=(*report.notes, outbound.traffic.refused))
        return report


def _lines(where: str, report: CheckReport) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    rows += [(step.name, f"{step.outcome:8}{f'{step.millis} ms' if step.millis else ''}") for step in report.steps]
    finding = report.finding
    if finding is not None:
        theirs = {"code": finding.provider_code, "request": finding.request_id}
        said = ", ".join(f"{name} {value}" for name, value in theirs.items() if value)
        rows += [("problem", f"{finding.code}: {finding.problem}"), ("remedy", finding.remedy)]
        rows += [("waits for", _FIXERS[finding.fixer]), *([("provider", said)] if said else [])]
    rows += [("needs" if place == 0 else "", need) for place, need in enumerate(report.needs)]
    rows += [("note", note) for note in report.notes]
    yield f"{where}  {report.provider.upper()}  {'works' if report.ok else 'DOES NOT WORK'}"
    for name, text in rows:
        yield f"  {name:14}{text}".rstrip()
