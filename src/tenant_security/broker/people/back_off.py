"""Slows down whoever guesses: an account and an address have a few failures free, then each one waits twice as long.

An attempt is counted before it is judged and forgiven when it succeeds, so that a thousand at once are a thousand
failures. It is counted whether or not there is such an account, so that it tells nobody which exist. Passkeys cannot be
guessed: only the address is counted for them, so that nobody keeps a person with a passkey out by failing for them.

Shape: a row's subject is a code of the broker's key over what is counted; reading the table names nobody.
"""

from typing import Final, NamedTuple

import sqlalchemy as sa

from tenant_security.broker import schema
from tenant_security.broker.database import Database
from tenant_security.broker.refusals import ConflictError, TooManyError
from tenant_security.broker.server_key import ServerKey

_FORGOTTEN_MS: Final = 24 * 3_600_000
_LONGEST_MS: Final = 15 * 60_000
_FIRST_MS: Final = 1_000
_MOST_DOUBLINGS: Final = 20


class Counted(NamedTuple):
    """What is counted, and how many failures it has free."""

    subject: bytes
    free: int


def account(key: ServerKey, email: str) -> Counted:
    """Count failures of an account, existing or not."""
    return Counted(key.code("failures/account", email.encode()), 5)


def address(key: ServerKey, counted_together: str) -> Counted:
    """Count failures of an address; many may sit behind one."""
    return Counted(key.code("failures/address", counted_together.encode()), 30)


def wait_ms(failures: int, free: int) -> int:
    """Return how long nothing is tried after so many failures."""
    over = failures - free
    return 0 if over <= 0 else min(_LONGEST_MS, _FIRST_MS << min(over - 1, _MOST_DOUBLINGS))


async def attempt(database: Database, counted: tuple[Counted, ...], now_ms: int) -> int:
    """Count an attempt, and return how many failures the first of these had before.

    Raises: TooManyError while one of them has to wait.
    """
    try:
        return await _attempt(database, counted, now_ms)
    except ConflictError:
        # Two first failures at once: the row is there now.
        return await _attempt(database, counted, now_ms)


async def _attempt(database: Database, counted: tuple[Counted, ...], now_ms: int) -> int:
    table = schema.sign_in_failures
    failures: list[int] = []
    async with database.note() as connection:
        await connection.execute(table.delete().where(table.c.updated_ms <= now_ms - _FORGOTTEN_MS))
        for each in sorted(counted):
            mine = table.c.subject == each.subject
            row = (await connection.execute(sa.select(table).where(mine).with_for_update())).one_or_none()
            had = 0 if row is None else row.failures
            if row is not None and row.blocked_until_ms > now_ms:
                left_s = -(-(row.blocked_until_ms - now_ms) // 1_000)
                raise TooManyError("too many attempts; wait a little and try again", left_s)
            values = {
                "failures": had + 1,
                "blocked_until_ms": now_ms + wait_ms(had + 1, each.free),
                "updated_ms": now_ms,
            }
            if row is None:
                await connection.execute(table.insert().values(subject=each.subject, **values))
            else:
                await connection.execute(table.update().where(mine).values(**values))
            failures.append(had if each == counted[0] else 0)
    return sum(failures)


async def forgive(database: Database, counted: tuple[Counted, ...], *, whole: bool) -> None:
    """Take an attempt back that succeeded; with ``whole``, all that was counted."""
    table = schema.sign_in_failures
    async with database.note() as connection:
        for each in sorted(counted):
            mine = table.c.subject == each.subject
            if whole:
                await connection.execute(table.delete().where(mine))
                continue
            fewer = sa.case((table.c.failures > 0, table.c.failures - 1), else_=0)
            await connection.execute(table.update().where(mine).values(failures=fewer))
