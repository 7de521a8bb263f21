"""Settings that change without a restart: API keys and the log level, from a file that is read again when it changes.

A file that cannot be used changes nothing, and the log says why.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import structlog

from tenant_security.secret import Secret
from tenant_security.service.logs import log_level, set_log_level
from tenant_security.service.stamps import stamp
from tenant_security.wire.service_env import parse_env

UseKeys = Callable[[Sequence[Secret[str]]], object]
"""Takes one or two keys that are accepted from now on, and no others."""

_CAP_BYTES: Final = 65_536
_LOOK_S: Final = 15.0


class Reloading:
    """Follows the env file that ``setting`` names. Without one everything here does nothing.

    ``level`` is what counts where the file names no RUST_LOG. Without ``use_keys`` the daemon has no API keys.
    """

    def __init__(
        self,
        file: Path | None,
        setting: str,
        log: structlog.typing.FilteringBoundLogger,
        *,
        level: int,
        use_keys: UseKeys | None = None,
    ) -> None:
        self._file: Final = file
        self._setting: Final = setting
        self._log: Final = log
        self._level: Final = level
        self._use_keys: Final = use_keys
        self._stamp = stamp(self._file)

    async def renew(self) -> None:
        """Read the file again and use what it says."""
        if self._file is None:
            return
        self._stamp = await asyncio.to_thread(stamp, self._file)
        try:
            named = await asyncio.to_thread(_read, self._file)
            keys = _keys(named) if self._use_keys is not None else []
            level = _level(named, self._level)
        except ValueError as wrong:
            self._log.error(
                "settings that may change stay as they were", reason=f"{self._setting}: {self._file} {wrong}"
            )
            return
        if self._use_keys is not None:
            self._use_keys(keys)
        self._log.info("settings that may change were read again", keys=len(keys))
        set_log_level(level)

    async def follow(self, look_s: float = _LOOK_S) -> None:
        """Look at the file from time to time, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(look_s)
            if await asyncio.to_thread(stamp, self._file) != self._stamp:
                await self.renew()


def _read(path: Path) -> dict[str, str]:
    """Return what the file names. Blocks. Raises: ValueError that says what is wrong with it, and holds none of it."""
    try:
        with path.open("rb") as file:
            return parse_env(file.read(_CAP_BYTES).decode("utf-8"))
    except OSError as wrong:
        raise ValueError(f"cannot be read: {wrong.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is no UTF-8") from None


def _keys(named: dict[str, str]) -> list[Secret[str]]:
    if not named.get("API_KEY"):
        raise ValueError("names no API_KEY")
    return [Secret(each) for each in (named["API_KEY"], named.get("API_KEY_2", "")) if each]


def _level(named: dict[str, str], otherwise: int) -> int:
    try:
        return log_level(named["RUST_LOG"]) if named.get("RUST_LOG") else otherwise
    except ValueError as wrong:
        raise ValueError(f"names a RUST_LOG that is none: {wrong}") from None
