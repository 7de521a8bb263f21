"""Brings the demo to its broker: the vendor's keys, tenants with their sealed configs, and tenant secrets.

It is what an admin does with the command line, by the same flows; what is there already stays as it is.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import groupby
from typing import Any, Final

from tenant_security.authoring.at_broker import AtBroker, Labels, config_type
from tenant_security.cli.demo_tenants import SECRETS, DemoSecret
from tenant_security.cli.dev_state import DevState, new_demo_secret, put_demo_tenant
from tenant_security.crypto.derive import bound_fingerprint
from tenant_security.crypto.signing import SigningKey
from tenant_security.outbound.broker import (
    BrokerAccount,
    BrokerRefusedError,
    create_secret,
    list_secrets,
    reserve_number,
)
from tenant_security.outbound.flow import Flow
from tenant_security.trust.tenant_secrets import Place, bind
from tenant_security.wire import broker_api as api
from tenant_security.wire.service_api import NewSecret
from tenant_security.wire.service_env import credentials_from_env

_CONFLICT: Final = 409
_TYPE: Final = "deterministic"

Run = Callable[[Flow[Any]], Awaitable[Any]]


def _account(url: str, key: SigningKey) -> BrokerAccount:
    return BrokerAccount(url, key, lambda: int(time.time()), lambda: secrets.token_urlsafe(16))


def demo_admin(url: str, state: DevState) -> AtBroker:
    """Return the demo's vendor at its broker."""
    return AtBroker(state.vendor, _account(url, state.vendor.admin))


async def seed_broker(url: str, state: DevState, seed: str, setup_token: str, run: Run) -> None:
    """Make everything that is missing. ``run`` runs a talk with the broker.

    Raises: BrokerRefusedError; UnreachableError.
    """
    admin = demo_admin(url, state)
    try:
        await run(admin.register("Demo vendor", setup_token))
    except BrokerRefusedError as refused:
        if refused.status != _CONFLICT:
            raise
    known: set[str] = {each.id for each in await run(admin.every("/tenants", api.Tenant))}
    wanted = state.tenants
    if wanted.keys() - known:
        await run(admin.take_numbers(max(state.configs)))
    for tenant, uses in wanted.items():
        if tenant not in known:
            await run(admin.ask("POST", "/tenants", api.Tenant, api.NewTenant(tenant, tenant)))
            labels = {use.config: Labels(config_type(state.configs[use.config]), f"Demo {use.config}") for use in uses}
            decide = partial(put_demo_tenant, tenant=tenant, uses=uses, configs=state.configs)
            await run(admin.change(tenant, decide, labels))
    if seed == "conformance":
        proxy = _account(url, SigningKey(credentials_from_env(state.proxy).signing_seed))
        for (tenant, path), group in groupby(SECRETS, lambda each: (each.tenant, each.path)):
            await _seed_secrets(admin, proxy, tenant, path, list(group), state, run)


async def _seed_secrets(  # noqa: PLR0917 - all of it is the demo's
    admin: AtBroker,
    proxy: BrokerAccount,
    tenant: str,
    path: str,
    wanted: list[DemoSecret],
    state: DevState,
    run: Run,
) -> None:
    """Make the secrets of one path, the oldest first, and move each to where it should be."""
    if any(each.path == path for each in await run(list_secrets(proxy, tenant))):
        return
    for each in wanted:
        plain, wrapped = new_demo_secret(state.configs[each.config], each.config)
        place = Place(admin.vendor.id, tenant, _TYPE, path, await run(reserve_number(proxy)))
        fingerprint = bound_fingerprint(plain, place.encoded())
        binding = bind(proxy.key, place, fingerprint=fingerprint)
        new = NewSecret(tenant, place.number, _TYPE, path, fingerprint, each.config, wrapped, binding)
        made = next(one for one in await run(create_secret(proxy, new)) if one.fingerprint == new.fingerprint)
        steps = {"archived": ("begin", "commit"), "in-rotation": ("begin",), "current": ()}[each.rotation]
        for step in steps:
            target = f"/tenants/{tenant}/secrets/{made.id}/rotation/{step}"
            await run(admin.ask("POST", target, api.TenantSecret))
