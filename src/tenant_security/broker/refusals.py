"""How the broker says no. Each kind is one HTTP status; the words reach whoever asked."""


class RefusalError(Exception):
    """Something that was asked for is not done. The message says why and what to do instead."""

    status = 400

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotSignedInError(RefusalError):
    """Nobody has proved who asks. 401."""

    status = 401


class ForbiddenError(RefusalError):
    """Who asks may not do this. 403."""

    status = 403


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

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BusyError(RefusalError):
    """The database did not answer in time. 503; asking again may help."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the broker's database is busy or down; try again in a few seconds")
