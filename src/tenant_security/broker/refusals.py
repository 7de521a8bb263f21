"""How the broker says no. Each kind is one HTTP status; the words reach whoever asked.

``code`` is there where a program should do something about it; docs/broker-api.md, "Errors", lists them.
"""


class RefusalError(Exception):
    """Something that was asked for is not done. The message says why and what to do instead."""

    status = 400
    code: str | None = None

    def __init__(self, message: str, **members: str) -> None:
        """Say why. ``members`` are said beside it, for programs."""
        super().__init__(message)
        self.message = message
        self.members = members


class NotSignedInError(RefusalError):
    """Nobody has proved who asks. 401."""

    status = 401
    code = "not-signed-in"


class SessionEndedError(NotSignedInError):
    """The session of the browser's cookie ended because its time was up. 401, and the browser is to forget it."""

    def __init__(self) -> None:
        super().__init__("the session has ended; sign in again")


class SignInFailedError(RefusalError):
    """Address, passphrase, code or passkey is wrong; it is never said which. 401."""

    status = 401
    code = "sign-in-failed"

    def __init__(self) -> None:
        super().__init__("address, passphrase, code or passkey is wrong, or there is no such account")


class ForbiddenError(RefusalError):
    """Who asks may not do this. 403."""

    status = 403


class CrossSiteError(ForbiddenError):
    """A browser was made to ask by pages that are not ours. 403."""

    code = "cross-site"


class ProveAgainError(ForbiddenError):
    """It matters, and it was long ago that somebody proved who they are. 403."""

    code = "prove-again"

    def __init__(self) -> None:
        super().__init__("prove once more who you are, then repeat this")


class SignOnRequiredError(ForbiddenError):
    """The organisation wants its own single sign-on. 403."""

    code = "sso-required"

    def __init__(self) -> None:
        super().__init__("this organisation wants its own single sign-on; sign in there")


class OwnSignInRequiredError(ForbiddenError):
    """What is a person's own is not changed on the word of an organisation's provider. 403."""

    code = "own-sign-in-required"

    def __init__(self) -> None:
        super().__init__("sign in with your own passkey or passphrase to change what is your own")


class ScopeMissingError(ForbiddenError):
    """An API key was not made for this. 403, and ``scope`` in the answer is what it lacks."""

    code = "scope-missing"

    def __init__(self, scope: str) -> None:
        super().__init__(f"this API key does not have the scope {scope!r}; use one that was made with it", scope=scope)


class KeyTenantsError(ForbiddenError):
    """An API key was made for some tenants, and this is about another one, or about the whole vendor. 403."""

    code = "not-for-this-tenant"

    def __init__(self, tenant: str | None) -> None:
        what = "the whole vendor" if tenant is None else f"tenant {tenant!r}"
        super().__init__(f"this API key was made for some tenants only, and this is about {what}")


class NotFoundError(RefusalError):
    """It is not there, or not for who asks. 404."""

    status = 404


class ConflictError(RefusalError):
    """It was changed in the meantime, or stands in the way of a rule that two changes at once would break. 409."""

    status = 409


class NotAllowedNowError(RefusalError):
    """It is well formed, but the state of things does not allow it. 422."""

    status = 422


class TooManyError(RefusalError):
    """Asked too often. 429. Units: ``retry_after_s`` seconds."""

    status = 429
    code = "slow-down"

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusyError(RefusalError):
    """The database did not answer in time. 503; asking again may help."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the broker's database is busy or down; try again in a few seconds")
