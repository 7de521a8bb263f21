"""The check of the application's API key."""

from collections.abc import Sequence
from hmac import compare_digest
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
        self.use(keys)

    def use(self, keys: Sequence[Secret[str]]) -> None:
        """Accept these from now on, and no others. Raises: ValueError."""
        if not 1 <= len(keys) <= 2:  # noqa: PLR2004 - the old one and the new one
            raise ValueError("one API key is needed, or two")
        first, *others = (Secret(SCHEME + key.reveal().encode()) for key in keys)
        self._first = first
        self._second = others[0] if others else first

    def accepts(self, authorization: bytes | None) -> bool:
        """Whether an Authorization header carries an accepted key."""
        given = authorization or b""
        return compare_digest(given, self._first.reveal()) | compare_digest(given, self._second.reveal())

    def check(self, authorization: bytes | None) -> None:
        """Raise TenantSecurityError 101 unless the header carries an accepted key."""
        if not self.accepts(authorization):
            raise TenantSecurityError(
                Code.UNAUTHORIZED_REQUEST,
                "The API key is missing or wrong; send the header 'Authorization: cmk <API_KEY>'",
            )
