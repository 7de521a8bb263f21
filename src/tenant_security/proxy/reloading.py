"""Settings that change without a restart: API keys and the log level, from a file that is read again when it changes.

A file that cannot be used changes nothing, and the log says why.
"""

import asyncio
from pathlib import Path
from typing import Final

import structlog

from tenant_security.errors import SettingsError
from tenant_security.proxy.settings import ProxySettings
from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.logs import log_level, set_log_level
from tenant_security.wire.service_env import parse_env

RELOADED: Final = ("API_KEY", "API_KEY_2", "RUST_LOG")
_CAP_BYTES: Final = 65_536
_LOOK_S: Final = 15.0


class Reloading:
    """Follows the env file. Without one everything here does nothing.

    Owner: the proxy; ``keys`` are what all of its listeners check by.
    """

    def __init__(self, settings: ProxySettings, keys: ApiKeys, log: structlog.typing.FilteringBoundLogger) -> None:
        self._file: Final = settings.reload_file
        self._settings: Final = settings
        self._keys: Final = keys
        self._log: Final = log
        self._stamp = _stamp(self._file)

    async def renew(self) -> None:
        """Read the file again and use what it says."""
        if self._file is None:
            return
        self._stamp = await asyncio.to_thread(_stamp, self._file)
        try:
            keys, level = await asyncio.to_thread(read_reloaded, self._file, self._settings)
        except SettingsError as wrong:
            self._log.error("API keys and log level stay as they were", reason="; ".join(wrong.problems))
            return
        self._keys.use(keys)
        self._log.info("API keys and log level were read again", keys=len(keys))
        set_log_level(level)

    async def follow(self, look_s: float = _LOOK_S) -> None:
        """Look at the file from time to time, until cancelled."""
        while self._file is not None:
            await asyncio.sleep(look_s)
            if await asyncio.to_thread(_stamp, self._file) != self._stamp:
                await self.renew()


def read_reloaded(path: Path, settings: ProxySettings) -> tuple[list[Secret[str]], int]:
    """Read keys and level; what the file does not name stays as at the start. Raises: SettingsError."""
    try:
        with path.open("rb") as file:
            text = file.read(_CAP_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as wrong:
        raise SettingsError([f"TSP_RELOAD_FILE: {path} cannot be read: {wrong}"]) from None
    named = parse_env(text)
    key = named.get("API_KEY", "")
    if not key:
        raise SettingsError([f"TSP_RELOAD_FILE: {path} names no API_KEY"])
    keys = [Secret(each) for each in (key, named.get("API_KEY_2", "")) if each]
    try:
        return keys, log_level(named["RUST_LOG"]) if named.get("RUST_LOG") else settings.log_level
    except ValueError as wrong:
        raise SettingsError([f"TSP_RELOAD_FILE: {path}: RUST_LOG must be {wrong}"]) from None


def _stamp(path: Path | None) -> object:
    try:
        status = path.stat() if path is not None else None
    except OSError:
        return None
    return None if status is None else (status.st_mtime_ns, status.st_ino, status.st_size)
