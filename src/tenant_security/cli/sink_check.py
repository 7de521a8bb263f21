"""``sink check``: which configs are tested, and how the outcome is printed."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tenant_security.authoring.description import read_loose
from tenant_security.cli.explain import PROBLEM, explained, fail
from tenant_security.cli.snapshot import load
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.errors import TenantSecurityError
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import EgressPolicy, read_allowed
from tenant_security.sinks.check import check_sink, report_unreadable
from tenant_security.sinks.sink import SinkContext
from tenant_security.wire.service_env import credentials_from_env, parse_env
from tenant_security.wire.sink_check import SinkCheckReport
from tenant_security.wire.sink_configs import SinkConfig, SinkConfigError, decode_sink_config

_FIXERS: Final = {"owner": "the owner of the sink", "operator": "the operator of this service", "nobody": "time"}
_CONNECT_S: Final = 5.0
_ATTEMPT_S: Final = 20.0


class Candidate(NamedTuple):
    """A config to test, or why there is none. ``where`` names it for people."""

    where: str
    tenant: str
    config: SinkConfig | SinkConfigError


class CheckedSink(msgspec.Struct, frozen=True, rename="camel"):
    """A tested config, by name."""

    where: str
    report: SinkCheckReport


class Asked(NamedTuple):
    """What the command was asked to test."""

    file: Path
    env_file: Path | None
    tenant: str | None
    vendor_owned: bool
    kafka: bool


def run(asked: Asked, *, allow: str, as_json: bool) -> None:
    """Test and print. Exits with 1 when an event was not delivered."""
    with explained():
        policy = read_allowed(allow)
        found = list(_of_file(asked) if asked.env_file is None else _of_snapshot(asked, asked.env_file))
        if not found:
            fail("there is no such sink in the file")
        checked = asyncio.run(_check_all(found, asked, policy))
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(checked)).decode())
        else:
            print("\n\n".join("\n".join(_lines(each.where, each.report)) for each in checked))
        if not all(each.report.ok for each in checked):
            sys.exit(PROBLEM)


def _of_file(asked: Asked) -> Iterator[Candidate]:
    text = msgspec.json.encode(read_loose(asked.file))
    yield Candidate(asked.file.name, asked.tenant or "test", _decoded(text))


def _of_snapshot(asked: Asked, env_file: Path) -> Iterator[Candidate]:
    credentials = credentials_from_env(parse_env(env_file.read_text("utf-8")))
    for each in load(asked.file, credentials.root_fingerprint, credentials):
        if asked.tenant not in {None, each.id}:
            continue
        if each.quarantined is not None:
            fail(f"tenant {each.id} is quarantined: {each.quarantined}")
        for sink in each.sinks:
            where = f"tenant {each.id}, sink {sink.id}"
            assert isinstance(sink, SealedConfig)  # as every directory holds them that a snapshot became
            try:
                yield Candidate(where, each.id, _decoded(sink.plaintext()))
            except TenantSecurityError as fault:
                yield Candidate(where, each.id, SinkConfigError(fault.message))


def _decoded(text: bytes) -> SinkConfig | SinkConfigError:
    try:
        return decode_sink_config(text)
    except SinkConfigError as wrong:
        return wrong


async def _check_all(candidates: list[Candidate], asked: Asked, policy: EgressPolicy) -> list[CheckedSink]:
    checked = []
    for where, tenant, config in candidates:
        if isinstance(config, SinkConfigError):
            report = report_unreadable("", config)
        else:
            report = await _check_one(config, tenant, asked, policy)
        checked.append(CheckedSink(where, report))
    return checked


async def _check_one(config: SinkConfig, tenant: str, asked: Asked, policy: EgressPolicy) -> SinkCheckReport:
    context = SinkContext(
        now=lambda: datetime.now(UTC),
        vendor_owned=asked.vendor_owned,
        kafka_allowed=asked.kafka,
        stdout=sys.stderr.buffer,  # standard output is for the report
        tenant_id=tenant,
    )
    limits = OutboundLimits(connect_s=_CONNECT_S, attempt_s=_ATTEMPT_S, shared_s=_ATTEMPT_S)
    # One for each config: what one signed in with is not another's.
    async with Outbound(limits, egress=policy) as outbound:
        report = await check_sink(config, outbound, context)
        if outbound.traffic.refused:
            report = msgspec.structs.replace(report, notes=(*report.notes, outbound.traffic.refused))
        return report


def _lines(where: str, report: SinkCheckReport) -> Iterator[str]:
    rows: list[tuple[str, str]] = []
    rows += [(step.name, f"{step.outcome:8}{f'{step.millis} ms' if step.millis else ''}") for step in report.steps]
    if report.event_id:
        rows.append(("event id", report.event_id))
    if report.assurance:
        rows.append(("assurance", report.assurance))
    finding = report.finding
    if finding is not None:
        rows += [("problem", finding.problem), ("remedy", finding.remedy), ("waits for", _FIXERS[finding.fixer])]
    rows += [("needs" if place == 0 else "", need) for place, need in enumerate(report.needs)]
    rows += [("note", note) for note in report.notes]
    yield f"{where}  {report.kind}  {'works' if report.ok else 'DOES NOT WORK'}"
    for name, text in rows:
        yield f"  {name:14}{text}".rstrip()
