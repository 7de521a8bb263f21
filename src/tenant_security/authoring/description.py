"""Tenants and configs as people write them down, in TOML or JSON, and how a roster is brought in line with that.

Shape, in TOML::

    vendor = "acme"                      # optional: refuse to build this for another vendor

    [[configs]]                          # a config of the vendor, which tenants may share
    id = 1
    config = { type = "AWS", version = 1, credentials = { ... }, keyPath = { ... } }

    [[tenants]]
    id = "tenant-a"
    leasingRequired = false
    spares = [20]                        # optional: configs that wrap every new key too, beside the primary
    configs = [
      { id = 1, primary = true, leasing = true },        # the vendor's config 1
      { id = 20, active = false, configFile = "a.json" } # the tenant's own, from a file beside this one
    ]
    sinks = [                            # where the tenant's events go
      { id = 21, config = { type = "WEBHOOK", version = 1, url = "https://...", signingSecret = "..." } }
    ]

Who is not described is left out of the snapshot. What is described as before keeps its version and signature.

Source: docs/formats-trust.md, "Description of tenants".
"""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from tenant_security.authoring.roster import Roster, assign
from tenant_security.errors import TenantSecurityError
from tenant_security.wire import snapshot as words
from tenant_security.wire.sink_configs import SinkConfigError

_YAML: Final = frozenset({".yaml", ".yml"})


class DescribedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A config, inline or in a file. Under a tenant without either, it is a config of the vendor."""

    id: words.ConfigId
    config: dict[str, Any] | None = None
    config_file: str | None = None
    active: bool = True
    primary: bool = False
    leasing: bool = False


class SharedConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A config of the vendor."""

    id: words.ConfigId
    config: dict[str, Any] | None = None
    config_file: str | None = None


class DescribedSink(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A sink config of a tenant, inline or in a file."""

    id: words.ConfigId
    config: dict[str, Any] | None = None
    config_file: str | None = None


class DescribedTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A tenant and what it may use."""

    id: words.TenantId
    configs: tuple[DescribedConfig, ...] = ()
    sinks: tuple[DescribedSink, ...] = ()
    leasing_required: bool = False
    spares: tuple[words.ConfigId, ...] = ()


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a snapshot is built from."""

    tenants: tuple[DescribedTenant, ...]
    configs: tuple[SharedConfig, ...] = ()
    vendor: words.VendorId | None = None


class DescriptionError(Exception):
    """A description cannot be used. ``problems`` names every one with its place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def read_description(path: Path) -> Description:
    """Read a description, TOML or JSON by its suffix.

    Raises: DescriptionError.
    """
    try:
        return msgspec.convert(read_loose(path), Description)
    except msgspec.ValidationError as wrong:
        raise DescriptionError([f"{path}: {wrong}"]) from None


def read_loose(path: Path) -> Any:
    """Read a file that people write, TOML, JSON or YAML by its suffix, without asking what it says.

    Raises: DescriptionError.
    """
    try:
        text = path.read_text("utf-8")
        if path.suffix in _YAML:
            return yaml.safe_load(text)
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as failure:
        raise DescriptionError([f"{path} cannot be read: {failure.strerror}"]) from None
    except (ValueError, RecursionError, yaml.YAMLError) as malformed:
        language = "YAML" if path.suffix in _YAML else "JSON" if path.suffix == ".json" else "TOML"
        raise DescriptionError([f"{path} is not {language}: {malformed}"]) from None


class Changes(msgspec.Struct, frozen=True):
    """What applying a description did, by name."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


def apply_description(description: Description, roster: Roster, beside: Path) -> Changes:
    """Bring a roster in line with a description; ``beside`` is the directory that config files are named from.

    Raises: DescriptionError with every problem. The roster may be half changed then and should not be written.
    """
    problems: list[str] = []
    changed: list[str] = []
    for config in description.configs:
        try:
            if roster.put_shared(config.id, config_text(config, beside)):
                changed.append(f"config {config.id}")
        except (TenantSecurityError, ValueError) as wrong:
            problems.append(f"config {config.id}: {wrong}")
    seen: set[str] = set()
    for tenant in description.tenants:
        if tenant.id in seen:
            problems.append(f"tenant {tenant.id!r} is described twice")
        seen.add(tenant.id)
        try:
            if put_described(tenant, roster, beside):
                changed.append(f"tenant {tenant.id!r}")
        except (TenantSecurityError, SinkConfigError, ValueError) as wrong:
            problems.append(f"tenant {tenant.id!r}: {wrong}")
    if problems:
        raise DescriptionError(problems)
    removed = _leave_out(roster, tenants=seen, shared={config.id for config in description.configs})
    entries = len(roster.tenants) + len(roster.shared)
    return Changes(tuple(changed), tuple(removed), entries - len(changed))


def _leave_out(roster: Roster, *, tenants: set[str], shared: set[int]) -> list[str]:
    gone_tenants = [tenant_id for tenant_id in roster.tenants if tenant_id not in tenants]
    for tenant_id in gone_tenants:
        roster.remove_tenant(tenant_id)
    gone_configs = [config_id for config_id in roster.shared if config_id not in shared]
    for config_id in gone_configs:
        del roster.shared[config_id]
    return [*gone_tenants, *(f"config {config_id}" for config_id in gone_configs)]


def _inline(config: DescribedConfig) -> bool:
    return config.config is not None or config.config_file is not None


def put_described(tenant: DescribedTenant, roster: Roster, beside: Path) -> bool:
    """Make a tenant what its description says, and return whether that changed anything.

    Raises: TenantSecurityError; SinkConfigError; ValueError.
    """
    own = {config.id: config_text(config, beside) for config in tenant.configs if _inline(config)}
    assignments = [
        assign(config.id, active=config.active, primary=config.primary, leasing=config.leasing)
        for config in tenant.configs
    ]
    sinks = {sink.id: config_text(sink, beside) for sink in tenant.sinks}
    return roster.put_tenant(
        tenant.id,
        assignments,
        configs=own,
        sinks=sinks,
        leasing_required=tenant.leasing_required,
        spares=tenant.spares,
    )


def config_text(described: DescribedConfig | SharedConfig | DescribedSink, beside: Path) -> bytes:
    """Return a described config's JSON; ``beside`` is the directory that config files are named from.

    Raises: ValueError.
    """
    if described.config is not None:
        return msgspec.json.encode(described.config)
    if described.config_file is None:
        raise ValueError("it has neither 'config' nor 'configFile'")
    try:
        return (beside / described.config_file).read_bytes()
    except OSError as failure:
        raise ValueError(f"{described.config_file} cannot be read: {failure.strerror}") from None
