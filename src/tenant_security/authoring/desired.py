"""A vendor's tenants at a broker as people write them down, and what must be done so that it is so.

It is the description that snapshots are built from, with names and tags beside it, in TOML, JSON or YAML.
Source: docs/broker-operate.md, "Describe everything in one file".
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from tenant_security.authoring.at_broker import AtBroker, Labels, config_type
from tenant_security.authoring.description import (
    DescribedConfig,
    DescribedSink,
    DescribedTenant,
    DescriptionError,
    SharedConfig,
    config_text,
    put_described,
    read_loose,
)
from tenant_security.authoring.roster import Roster
from tenant_security.outbound.flow import Flow
from tenant_security.wire import broker_api as api
from tenant_security.wire import snapshot as words


class DesiredConfig(SharedConfig, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A config of the vendor, with what people call it."""

    name: str = ""
    leasing: bool = False


class DesiredTenant(DescribedTenant, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A tenant with its name and its tags; without ``tags`` those that it has stay."""

    name: str | None = None
    tags: tuple[words.Name, ...] | None = None


class Desired(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that should be at the broker."""

    tenants: tuple[DesiredTenant, ...] = ()
    configs: tuple[DesiredConfig, ...] = ()
    vendor: words.VendorId | None = None


def read_desired(path: Path) -> Desired:
    """Read a description. Raises: DescriptionError."""
    try:
        desired = msgspec.convert(read_loose(path), Desired)
    except msgspec.ValidationError as wrong:
        raise DescriptionError([f"{path}: {wrong}"]) from None
    twice = [each.id for each in desired.tenants if sum(each.id == one.id for one in desired.tenants) > 1]
    if twice:
        raise DescriptionError([f"tenant {twice[0]!r} is described twice"])
    return desired


class Step(msgspec.Struct, frozen=True):
    """One thing to do. ``sign`` is ``+``, ``~`` or ``-``; ``what`` says it to people."""

    sign: str
    what: str


Told = Callable[[Step], object]


class Applying:
    """Brings a broker in line with a description, or, with ``dry``, only says what that would do.

    Steps are told as they are done. Each is whole by itself, so an interrupted run is taken up by running it again.
    """

    def __init__(self, admin: AtBroker, desired: Desired, beside: Path, tell: Told, *, dry: bool) -> None:
        self._admin: Final = admin
        self._desired: Final = desired
        self._beside: Final = beside
        self._tell: Final = tell
        self._dry: Final = dry
        self._tags: dict[str, int] = {}

    def run(self, *, prune: bool) -> Flow[int]:
        """Do it; return how many steps there were. With ``prune`` tenants and configs that are not described go.

        Raises: DescriptionError; ValueError; TenantSecurityError; BrokerRefusedError; UnreachableError.
        """
        admin, desired = self._admin, self._desired
        if desired.vendor not in (None, admin.vendor.id):
            raise DescriptionError(
                [f"this describes vendor {desired.vendor!r}, and the keys are of {admin.vendor.id!r}"]
            )
        configs = {each.id: each for each in (yield from admin.every("/configs", api.Config))}
        tenants = {each.id: each for each in (yield from admin.every("/tenants", api.Tenant))}
        self._tags = {each.text: each.id for each in (yield from admin.every("/tags", api.Tag))}
        numbers = [each.id for each in desired.configs]
        numbers += [each.id for tenant in desired.tenants for each in tenant.configs]
        numbers += [each.id for tenant in desired.tenants for each in tenant.sinks]
        if numbers and not self._dry:
            yield from admin.take_numbers(max(numbers))
        steps = 0
        for config in desired.configs:
            steps += yield from self._config(config, known=config.id in configs)
        for tenant in desired.tenants:
            steps += yield from self._tenant(tenant, tenants.get(tenant.id))
        if prune:
            steps += yield from self._prune(tenants, configs)
        return steps

    def _config(self, config: DesiredConfig, *, known: bool) -> Flow[int]:
        text = config_text(config, self._beside)
        flow = self._admin.put_shared(config.id, text, name=config.name, leasing=config.leasing, dry=self._dry)
        changed = yield from flow
        if changed:
            self._tell(Step("~" if known else "+", f"config {config.id} of the vendor ({config_type(text)})"))
        return int(changed)

    def _tenant(self, tenant: DesiredTenant, known: api.Tenant | None) -> Flow[int]:
        steps = 0
        if known is None:
            steps += 1
            self._tell(Step("+", f"tenant {tenant.id}"))
            if not self._dry:
                tags = None if tenant.tags is None else (yield from self._tag_ids(tenant.tags))
                new = api.NewTenant(tenant.id, tenant.name or tenant.id, tags)
                yield from self._admin.ask("POST", "/tenants", api.Tenant, new)
        else:
            steps += yield from self._update(tenant, known)
        steps += yield from self._documents(tenant, known)
        return steps

    def _update(self, tenant: DesiredTenant, known: api.Tenant) -> Flow[int]:
        texts = {number: text for text, number in self._tags.items()}
        had = {texts.get(each, str(each)) for each in known.tags}
        wanted = had if tenant.tags is None else set(tenant.tags)
        name = None if tenant.name in (None, known.name) else tenant.name
        if name is None and wanted == had:
            return 0
        said = [f"name {name!r}"] if name is not None else []
        said += [f"tag +{each}" for each in sorted(wanted - had)] + [f"tag -{each}" for each in sorted(had - wanted)]
        self._tell(Step("~", f"tenant {tenant.id}: {', '.join(said)}"))
        if not self._dry:
            add = yield from self._tag_ids(sorted(wanted - had))
            remove = yield from self._tag_ids(sorted(had - wanted))
            update = api.TenantUpdate(name=name, tag_additions=add, tag_removals=remove)
            yield from self._admin.ask("PATCH", self._admin.tenant_path(tenant.id), api.Tenant, update)
        return 1

    def _tag_ids(self, texts: "tuple[str, ...] | list[str]") -> Flow[tuple[int, ...]]:
        for text in texts:
            if text not in self._tags:
                self._tags[text] = (yield from self._admin.ask("POST", "/tags", api.Tag, api.NewTag(text))).id
        return tuple(self._tags[text] for text in texts)

    def _documents(self, tenant: DesiredTenant, known: api.Tenant | None) -> Flow[int]:
        inline: list[DescribedConfig | DescribedSink] = [*tenant.configs, *tenant.sinks]
        labels = {
            each.id: Labels(config_type(config_text(each, self._beside)))
            for each in inline
            if each.config is not None or each.config_file is not None
        }
        if known is None and self._dry:
            return self._say(tenant.id, None, labels)
        before = yield from self._admin.stored(tenant.id)
        if before.record is None and not tenant.configs and not tenant.sinks:
            return 0
        change = yield from self._admin.next_version(
            before, lambda roster: put_described(tenant, roster, self._beside), labels, also=self._described_shared()
        )
        if change is None:
            return 0
        self._say(tenant.id, change, labels)
        if not self._dry:
            yield from self._admin.put(tenant.id, change)
        return 1

    def _described_shared(self) -> frozenset[int]:
        """Numbers that will be there: a dry run has not made them."""
        return frozenset(each.id for each in self._desired.configs) if self._dry else frozenset()

    def _say(self, tenant: str, change: api.TenantChange | None, labels: Mapping[int, Labels]) -> int:
        if change is None:
            said = [f"config {number} ({each.type})" for number, each in sorted(labels.items())]
        else:
            numbers = sorted(words.decode(words.ConfigHeader, each.header).config for each in change.configs)
            said = [f"config {number}" for number in numbers] + [
                f"config {number} removed" for number in change.removed
            ]
            record = words.decode(words.TenantRecord, change.record.body)
            uses = [
                f"{each.config}{' primary' if each.primary else ''}{' leasing' if each.leasing else ''}"
                f"{'' if each.active else ' off'}"
                for each in record.assignments
            ]
            said.append(f"assigned {', '.join(uses) or 'nothing'}")
        self._tell(Step("~", f"tenant {tenant}: {'; '.join(said) or 'a record'}"))
        return 1

    def _prune(self, tenants: Mapping[str, api.Tenant], configs: Mapping[int, api.Config]) -> Flow[int]:
        steps = 0
        for name in sorted(tenants.keys() - {each.id for each in self._desired.tenants}):
            steps += 1
            self._tell(Step("-", f"tenant {name}"))
            if not self._dry:
                yield from self._admin.change(name, partial(_leave_nothing, name))
                yield from self._admin.ask("DELETE", self._admin.tenant_path(name), type(None))
        for number in sorted(configs.keys() - {each.id for each in self._desired.configs}):
            steps += 1
            self._tell(Step("-", f"config {number} of the vendor"))
            if not self._dry:
                yield from self._admin.ask("DELETE", f"/configs/{number}", type(None))
        return steps


def _leave_nothing(tenant: str, roster: Roster) -> None:
    roster.put_tenant(tenant, [])
