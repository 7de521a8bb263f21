"""Who asks, and what they may: one table. No I/O.

A caller has a role in one vendor, and perhaps only for one tenant of it. What a role may stands in ``RIGHTS``;
everything that is not there is refused.
"""

from enum import Enum
from typing import Final, NamedTuple

import msgspec

from tenant_security.broker.audit import Actor
from tenant_security.broker.refusals import ForbiddenError, NotFoundError


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

_REQUESTOR_CHARS: Final = 200

TENANTS_OWN: Final = frozenset({Right.READ, Right.SIGN, Right.PEOPLE, Right.SECRETS})
"""What can be asked for at all by somebody of a tenant, and only about that tenant."""


class Caller(NamedTuple):
    """Who asks. ``tenant`` is the id of the only tenant that it is about, or None for the whole vendor."""

    actor: Actor
    vendor: str
    role: Role
    tenant: str | None = None
    segments: frozenset[int] = frozenset()
    """The segments of a service, by its tags."""

    def on_behalf_of(self, requestor: str) -> "Caller":
        """Write down, with everything that a bridge does, for whom it says that it does it."""
        if self.role is not Role.BRIDGE or not requestor:
            return self
        printable = "".join(letter if letter.isprintable() else " " for letter in requestor[:_REQUESTOR_CHARS])
        return self._replace(actor=msgspec.structs.replace(self.actor, name=f"{self.actor.name} for {printable}"))

    def require(self, right: Right, vendor: str, tenant: str | None = None) -> None:
        """Refuse what this caller may not do.

        Raises: NotFoundError for what is another vendor's or tenant's, so that nobody learns what exists;
        ForbiddenError.
        """
        if vendor != self.vendor:
            raise NotFoundError(f"there is no vendor {vendor!r} here")
        if self.tenant is not None:
            if tenant is not None and tenant != self.tenant:
                raise NotFoundError(f"there is no tenant {tenant!r}")
            if tenant is None or right not in TENANTS_OWN:
                raise ForbiddenError(f"only people of the vendor may {right.value}")
        if right not in RIGHTS[self.role]:
            raise ForbiddenError(f"the role {self.role.value!r} may not {right.value}; ask an owner")
