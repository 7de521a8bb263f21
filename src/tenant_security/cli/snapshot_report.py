"""What the snapshot commands print."""

from datetime import UTC, datetime
from typing import Final

import msgspec

from tenant_security.crypto.signing import fingerprint, key_id
from tenant_security.directory.tenants import Tenant, TenantDirectory
from tenant_security.errors import TenantSecurityError
from tenant_security.wire import snapshot as words

EXAMPLE: Final = """\
# Tenants and their KMS configs. This file holds credentials: keep it as you keep those.

# A config of the vendor. Any tenant below may be assigned it by its id.
[[configs]]
id = 1
[configs.config]
type = "LOCAL"          # a key in the config itself: for trying things out, never for a tenant's own custody
version = 1
credentials = { keys = { 1 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" } }   # base64 of 32 bytes, make your own
keyPath = { keyId = "demo" }

[[tenants]]
id = "tenant-a"
configs = [{ id = 1, primary = true, leasing = true }]

# A tenant with a config of its own. Ids are never reused: every wrapped key names the config that wrapped it.
[[tenants]]
id = "tenant-b"
leasingRequired = false
[[tenants.configs]]
id = 20
primary = true
leasing = true
active = true
# configFile = "tenant-b.json"       # instead of what follows
[tenants.configs.config]
type = "AWS"
version = 1
credentials = { accessKeyId = "AKIA...", secretAccessKey = "..." }
keyPath = { keyID = "arn:aws:kms:eu-central-1:111122223333:key/...", region = "eu-central-1" }
"""


class ConfigReport(msgspec.Struct, frozen=True):
    """One use of a config. ``problem`` says why it does not open."""

    id: int
    version: int
    active: bool
    primary: bool
    leasing: bool
    problem: str | None = None


class TenantReport(msgspec.Struct, frozen=True, rename="camel"):
    """One tenant."""

    id: str
    version: int
    leasing_required: bool
    configs: list[ConfigReport]
    quarantined: str | None


class Report(msgspec.Struct, frozen=True, rename="camel"):
    """A verified snapshot. ``configs_opened`` is false when there was no key to try."""

    vendor: str
    version: int
    made: str
    expires: str
    freshness: str
    configs_opened: bool
    quarantined: dict[str, str]
    tenants: list[TenantReport]
    good: bool


def describe(directory: TenantDirectory, *, opened: bool) -> Report:
    """Tell what is in a directory, and with ``opened`` whether every config opens."""
    tenants = [_tenant(tenant, opened=opened) for tenant in directory]
    problems = any(config.problem for tenant in tenants for config in tenant.configs)
    return Report(
        vendor=directory.vendor,
        version=directory.version,
        made=_time(directory.made_at_s),
        expires=_time(directory.expires_at_s),
        freshness=directory.freshness.value,
        configs_opened=opened,
        quarantined=dict(directory.quarantined),
        tenants=tenants,
        good=not directory.quarantined and not problems,
    )


def _tenant(tenant: Tenant, *, opened: bool) -> TenantReport:
    configs = []
    for each in tenant.assignments:
        problem = None
        if opened:
            try:
                each.config.open()
            except TenantSecurityError as fault:
                problem = fault.message
        configs.append(
            ConfigReport(each.config.id, each.config.version, each.active, each.primary, each.leasing, problem)
        )
    return TenantReport(tenant.id, tenant.version, tenant.leasing_required, configs, tenant.quarantined)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def print_report(report: Report) -> None:
    """Print for people."""
    from rich.console import Console  # noqa: PLC0415 - only for people
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    console = Console(highlight=False)
    console.print(
        f"Vendor {report.vendor}, snapshot version {report.version}, made {report.made}, good until {report.expires}"
    )
    console.print(f"Freshness: {report.freshness}. Configs opened: {'yes' if report.configs_opened else 'not tried'}.")
    table = Table("tenant", "version", "config", "config version", "use", "state")
    for tenant in report.tenants:
        if tenant.quarantined is not None:
            table.add_row(escape(tenant.id), "", "", "", "", f"quarantined: {escape(tenant.quarantined)}")
        elif not tenant.configs:
            table.add_row(escape(tenant.id), str(tenant.version), "-", "", "", "")
        for config in tenant.configs:
            table.add_row(
                escape(tenant.id),
                str(tenant.version),
                str(config.id),
                str(config.version),
                _use(config),
                escape(config.problem or "good"),
            )
    console.print(table)
    for name, reason in report.quarantined.items():
        console.print(escape(f"Quarantined: {name}: {reason}"))
    console.print("Everything is good." if report.good else "There are problems.")


def _use(config: ConfigReport) -> str:
    words_ = ["active" if config.active else "disabled"]
    return ", ".join(words_ + ["primary"] * config.primary + ["leasing"] * config.leasing)


def print_unverified(header: words.SnapshotHeader, *, as_json: bool) -> None:
    """Print what a first line claims.

    Raises: MalformedError.
    """
    root, manifest = words.decode(words.Root, header.root.body), words.decode(words.Manifest, header.manifest.body)
    head = None if header.head is None else words.decode(words.Head, header.head.body)
    claims = {
        "verified": False,
        "version": header.version,
        "created": _time(header.created),
        "lines": header.lines,
        "rootFingerprint": fingerprint(root.root_key),
        "root": root,
        "manifest": manifest,
        "head": head,
    }
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(claims)).decode())
        return
    print("NOT VERIFIED: this is what the file says of itself.")
    print(f"vendor            {root.vendor}")
    print(f"root fingerprint  {fingerprint(root.root_key)}")
    print(f"snapshot          version {header.version}, made {_time(header.created)}, {header.lines} entries")
    print(f"root              version {root.version}, good until {_time(root.expires)}")
    print(f"manifest          version {manifest.version}, good until {_time(manifest.expires)}")
    print(f"head              {'none' if head is None else 'good until ' + _time(head.expires)}")
    for segment in manifest.segments:
        print(f"segment           {segment.id}, epoch {segment.epoch}, suite {segment.suite}")
    for identity in manifest.identities:
        print(f"identity          {identity.id} ({identity.config}), {identity.status.value}")
    for author in manifest.authors:
        rights = ", ".join(right.value for right in author.may)
        print(f"author            {author.name} {key_id(author.public)}: {author.tenant or 'all tenants'}; {rights}")
