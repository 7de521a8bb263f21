"""The check of the application's API key."""

import hmac
from collections.abc import Sequence
from typing import Final

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.secret import Secret

SCHEME: Final = b"cmk "


class ApiKeys:
    """One or two accepted keys: with two, applications move from the old to the new one without a gap.

    Trust: whoever holds a key can unwrap for every tenant, so keys are compared in constant time and every key is
    compared whatever the first comparison said. Only the length of a key shows in the time taken.
    """

    def __init__(self, keys: Sequence[Secret[str]]) -> None:
        if not keys:
            raise ValueError("at least one API key is needed")
        self._accepted = tuple(Secret(SCHEME + key.reveal().encode()) for key in keys)

    def accepts(self, authorization: bytes | None) -> bool:
        """Whether an Authorization header carries an accepted key."""
        given = authorization or b""
        accepted = False
        for each in self._accepted:
            accepted |= hmac.compare_digest(given, each.reveal())
        return accepted

    def check(self, authorization: bytes | None) -> None:
        """Raise TenantSecurityError 101 unless the header carries an accepted key."""
        if not self.accepts(authorization):
            raise TenantSecurityError(
                Code.UNAUTHORIZED_REQUEST,
                "The API key is missing or wrong; send the header 'Authorization: cmk <API_KEY>'",
            )
