"""Who asks, and what they may: one table. No I/O.

A caller has a role in one vendor, and perhaps only for one tenant of it. What a role may stands in ``RIGHTS``;
everything that is not there is refused. An API key may be made for less than its role: for some scopes, each of which
is a part of one right, and for some tenants.
"""

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from tenant_security.broker.audit import Actor
from tenant_security.broker.refusals import (
    ForbiddenError,
    KeyTenantsError,
    NotAllowedNowError,
    NotFoundError,
    ScopeMissingError,
)
from tenant_security.wire.key_scopes import Scope
from tenant_security.wire.name_patterns import names


class Right(Enum):
    """What can be asked for."""

    READ = "read"
    """Everything that is not secret."""
    TENANTS = "manage tenants, tags and the vendor's configs"
    SIGN = "hand in signed documents of tenants"
    KEYS = "hand in the vendor's root and manifest"
    HEADS = "publish heads"
    PEOPLE = "manage people, roles, API keys and sign-in"
    SECRETS = "rotate tenant secrets"
    SERVE = "read snapshots and keep tenant secrets"


class Role(Enum):
    """What somebody is to a vendor or a tenant."""

    OWNER = "owner"
    ADMIN = "admin"
    AUDITOR = "auditor"
    AUTHOR = "author"
    """Whoever holds a key that the manifest names for all tenants: an admin's command line."""
    BRIDGE = "bridge"
    PROXY = "proxy"
    LOGDRIVER = "logdriver"
    REVOKED = "revoked"
    """A service that the manifest has revoked: it may learn that, and nothing else."""


_MANAGE: Final = {Right.READ, Right.TENANTS, Right.SIGN, Right.KEYS, Right.HEADS, Right.SECRETS}

RIGHTS: Final[dict[Role, frozenset[Right]]] = {
    Role.OWNER: frozenset({*_MANAGE, Right.PEOPLE}),
    Role.ADMIN: frozenset(_MANAGE),
    Role.AUDITOR: frozenset({Right.READ}),
    Role.AUTHOR: frozenset(_MANAGE),
    Role.BRIDGE: frozenset({Right.READ, Right.TENANTS, Right.SIGN, Right.HEADS, Right.SECRETS, Right.SERVE}),
    Role.PROXY: frozenset({Right.SERVE}),
    Role.LOGDRIVER: frozenset({Right.SERVE}),
    Role.REVOKED: frozenset(),
}
"""What each role may."""

RIGHT_OF: Final[dict[Scope, Right]] = {
    Scope.VENDOR_READ: Right.READ,
    Scope.VENDOR_WRITE: Right.TENANTS,
    Scope.TENANTS_READ: Right.READ,
    Scope.TENANTS_WRITE: Right.TENANTS,
    Scope.TENANTS_REMOVE: Right.TENANTS,
    Scope.INVITATIONS_WRITE: Right.TENANTS,
    Scope.CONFIGS_READ: Right.READ,
    Scope.CONFIGS_WRITE: Right.TENANTS,
    Scope.CONFIGS_TEST: Right.SIGN,
    Scope.DOCUMENTS_READ: Right.READ,
    Scope.DOCUMENTS_WRITE: Right.SIGN,
    Scope.APPROVALS_DECIDE: Right.SIGN,
    Scope.SECRETS_READ: Right.READ,
    Scope.SECRETS_ROTATE: Right.SECRETS,
    Scope.SECRETS_IMPORT: Right.KEYS,
    Scope.AUDIT_READ: Right.READ,
    Scope.FLEET_READ: Right.READ,
    Scope.PEOPLE_READ: Right.READ,
    Scope.KEYS_WRITE: Right.KEYS,
    Scope.HEADS_WRITE: Right.HEADS,
    Scope.SNAPSHOTS_READ: Right.HEADS,
}
"""The right that each scope is a part of. ``Right.PEOPLE`` and ``Right.SERVE`` have none: no API key has them."""

_REQUESTOR_CHARS: Final = 200

TENANTS_OWN: Final = frozenset({Right.READ, Right.SIGN, Right.PEOPLE, Right.SECRETS})
"""What can be asked for at all by somebody of a tenant, and only about that tenant."""


def right_of(asked: Scope | Right) -> Right:
    """Return the right that is needed for what is asked."""
    return asked if isinstance(asked, Right) else RIGHT_OF[asked]


class Caller(NamedTuple):
    """Who asks. ``tenant`` is the id of the only tenant that it is about, or None for the whole vendor."""

    actor: Actor
    vendor: str
    role: Role
    tenant: str | None = None
    segments: frozenset[int] = frozenset()
    """The segments of a service, by its tags."""
    scopes: frozenset[Scope] | None = None
    """What an API key was made for; None where its role alone decides."""
    tenants: tuple[str, ...] | None = None
    """The tenants that an API key was made for, as patterns; None where it was made for all."""

    def on_behalf_of(self, requestor: str) -> "Caller":
        """Write down, with everything that a bridge does, for whom it says that it does it."""
        if self.role is not Role.BRIDGE or not requestor:
            return self
        printable = "".join(letter if letter.isprintable() else " " for letter in requestor[:_REQUESTOR_CHARS])
        return self._replace(actor=msgspec.structs.replace(self.actor, name=f"{self.actor.name} for {printable}"))

    def require(self, asked: Scope | Right, vendor: str, tenant: str | None = None) -> None:
        """Refuse what this caller may not do. What has no scope is asked for by its right.

        Raises: NotFoundError for what is another vendor's or tenant's, so that nobody learns what exists;
        ForbiddenError.
        """
        right = right_of(asked)
        if vendor != self.vendor:
            raise NotFoundError(f"there is no vendor {vendor!r} here")
        if self.tenant is not None:
            if tenant is not None and tenant != self.tenant:
                raise NotFoundError(f"there is no tenant {tenant!r}")
            if tenant is None or right not in TENANTS_OWN:
                raise ForbiddenError(f"only people of the vendor may {right.value}")
        if right not in RIGHTS[self.role]:
            raise ForbiddenError(f"the role {self.role.value!r} may not {right.value}; ask an owner")
        if self.scopes is not None and asked not in self.scopes:
            raise ScopeMissingError(asked.value)
        if self.tenants is not None and (tenant is None or not names(self.tenants, tenant)):
            raise KeyTenantsError(tenant)

    def require_to_give(self, role: Role, scopes: frozenset[Scope] | None, tenants: tuple[str, ...] | None) -> None:
        """Refuse to make an API key that may more than its role, or more than who makes it.

        Raises: ForbiddenError; NotAllowedNowError for a scope that the key's role does not have.
        """
        for scope in sorted(scopes or (), key=lambda scope: scope.value):
            if RIGHT_OF[scope] not in RIGHTS[role]:
                raise NotAllowedNowError(f"the scope {scope.value!r} is more than the role {role.value!r} may")
        if not RIGHTS[role] <= RIGHTS[self.role]:
            raise ForbiddenError(f"the role {self.role.value!r} may not make keys of the role {role.value!r}")
        if self.scopes is not None and (scopes is None or not scopes <= self.scopes):
            raise ForbiddenError("an API key makes no key with more scopes than its own")
        if self.tenants is not None and (tenants is None or not all(names(self.tenants, each) for each in tenants)):
            raise ForbiddenError("an API key makes no key for more tenants than its own")
