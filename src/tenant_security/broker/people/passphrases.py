"""Passphrases: long rather than complicated, hashed with Argon2id in a thread, a few at a time.

Source: RFC 9106, section 4 (second recommended option, one lane); NIST SP 800-63B-4, section 3.1.1.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from tenant_security.broker.refusals import NotAllowedNowError, TooManyError

SHORTEST: Final = 12
LONGEST: Final = 256
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 32
_RETRY_S: Final = 3

_COMMON: Final = frozenset((Path(__file__).parent / "common_passphrases.txt").read_text("ascii").split())
_LEAST_DIFFERENT: Final = 5


class Passphrases:
    """Hashes and verifies. One for a process, because what it bounds is the process's memory."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher: Final = hasher or PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=1)
        self._places: Final = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0
        self._nobodys: str | None = None

    async def hashed(self, passphrase: str) -> str:
        """Return the hash that is stored. Raises: TooManyError."""
        async with self._place():
            return await asyncio.to_thread(self._hasher.hash, passphrase)

    async def is_right(self, stored: str | None, passphrase: str) -> bool:
        """Whether this is the passphrase of a stored hash. Where there is none, it takes as long.

        Raises: TooManyError.
        """
        async with self._place():
            if self._nobodys is None:
                self._nobodys = await asyncio.to_thread(self._hasher.hash, "nobody's")
            right = await asyncio.to_thread(self._verify, stored or self._nobodys, passphrase[: LONGEST + 1])
        return right and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than ours now."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, passphrase: str) -> bool:
        try:
            return self._hasher.verify(stored, passphrase)
        except (VerificationError, InvalidHashError):
            return False

    @contextlib.asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._waiting >= _MOST_WAITING:
            raise TooManyError("too many people sign in at this moment; try again in a few seconds", _RETRY_S)
        self._waiting += 1
        try:
            async with self._places:
                yield
        finally:
            self._waiting -= 1


def check_new(passphrase: str, email: str) -> None:
    """Refuse a new passphrase that is easily guessed.

    Raises: NotAllowedNowError.
    """
    if not SHORTEST <= len(passphrase) <= LONGEST:
        raise NotAllowedNowError(f"a passphrase has {SHORTEST} to {LONGEST} characters; several words are best")
    plain = "".join(passphrase.lower().split())
    if plain in _COMMON or len(set(plain)) < _LEAST_DIFFERENT or plain in _made_of(email):
        raise NotAllowedNowError("this passphrase is one of the first that others would try; take another")


def _made_of(email: str) -> set[str]:
    name, _, domain = email.partition("@")
    ends = ("", "1", "12", "123", "1234", "12345", "123456", "!", "1!")
    return {part + end for part in (email, name, domain, name + name, name + domain) for end in ends}
