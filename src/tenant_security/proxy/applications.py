"""Who asks, what they may, and how often: the keys of the environment and those of the file of applications.

The environment's keys may do everything, as ever. The file is read again when it changes and on SIGHUP; one that cannot
be used changes nothing, and the log says why.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hmac import compare_digest
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from tenant_security.errors import Code, SettingsError, TenantSecurityError
from tenant_security.service.api_key import SCHEME, ApiKeys
from tenant_security.service.metrics import Metrics
from tenant_security.service.stamps import stamp
from tenant_security.wire.applications import (
    Application,
    ApplicationsFile,
    Key,
    WrongFileError,
    digest,
    id_of,
    read_applications,
)

ENVIRONMENT: Final = Application(name="environment")
"""Whoever has a key of the environment."""
_CAP_BYTES: Final = 1_048_576
_LOOK_S: Final = 15.0
_NOBODY: Final = Key("00000000", "0" * 64)


class Entry(NamedTuple):
    """A key and whose it is."""

    application: Application
    key: Key


class Applications:
    """What one reading of the file says."""

    def __init__(self, file: ApplicationsFile | None) -> None:
        self._salt: Final = file.salt if file is not None else bytes(32)
        self.all: Final = file.applications if file is not None else ()
        self._keys: Final[Mapping[str, Entry]] = {
            key.id: Entry(application, key) for application in self.all for key in application.keys
        }

    def find(self, key: bytes, now: datetime) -> Entry | None:
        """Return whose key this is, if it is good now. An unknown one takes as long as a wrong one."""
        entry = self._keys.get(id_of(key) or "")
        known = entry.key if entry is not None else _NOBODY
        same = compare_digest(digest(self._salt, key), bytes.fromhex(known.hmac))
        if entry is None or not same or (known.expires is not None and known.expires <= now):
            return None
        return entry


class Bucket:
    """A token bucket: so many a second, so many at once."""

    __slots__ = ("_burst", "_left", "_rate", "_then")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        self._rate, self._burst, self._left, self._then = rate, burst, burst, now_s

    def take(self, now_s: float) -> float:
        """Take one, and return 0; or return in how many seconds there will be one."""
        self._left = min(self._burst, self._left + (now_s - self._then) * self._rate)
        self._then = now_s
        if self._left >= 1:
            self._left -= 1
            return 0.0
        return (1 - self._left) / self._rate


class Rates:
    """One bucket for each name that asks. Bounded: the longest untouched is forgotten, and begins anew as full."""

    def __init__(
        self, rate: float, burst: float, most: int = 100_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._most, self._clock = rate, burst, most, clock
        self._buckets: dict[str, Bucket] = {}

    def take(self, name: str) -> float:
        """Take one for a name, and return 0; or return in how many seconds there will be one."""
        now_s = self._clock()
        bucket = self._buckets.pop(name, None) or Bucket(self._rate, self._burst, now_s)
        if len(self._buckets) >= self._most:
            del self._buckets[next(iter(self._buckets))]
        self._buckets[name] = bucket
        return bucket.take(now_s)


class Gate:
    """Lets requests in: by key, by operation, by tenant, by rate.

    Raises, from its checks: TenantSecurityError 101 with HTTP 401 or 403, or 209 with HTTP 429 and when to ask again.
    """

    def __init__(
        self,
        api_keys: ApiKeys,
        metrics: Metrics,
        *,
        file: Path | None = None,
        tenant_rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Read the file, if there is one. Raises: SettingsError."""
        self.tenant_rates: Final = tenant_rates
        self._api_keys: Final = api_keys
        self._file: Final = file
        self._clock: Final = clock
        self._now: Final = now
        self._buckets: dict[str, Bucket] = {}
        self._used: dict[tuple[str, ...], float] = {}
        self._requests: Final = metrics.counter(
            "tsp_application_requests",
            "Requests by application and what became of them at the gate",
            "application",
            "outcome",
        )
        metrics.gauge(
            "tsp_application_key_used_seconds",
            "When a key of the file was last used, Unix time",
            lambda: dict(self._used),
            "application",
            "key",
        )
        self._applications = Applications(None if file is None else _read(file))
        self._stamp = stamp(file)

    def who(self, authorization: bytes | None) -> Application:
        """Find out who asks."""
        if self._api_keys.accepts(authorization):
            return ENVIRONMENT
        given = authorization or b""
        entry = self._applications.find(given[len(SCHEME) :], self._now()) if given.startswith(SCHEME) else None
        if entry is None:
            self._api_keys.check(authorization)
            raise AssertionError("a key that was refused was accepted")
        self._used[entry.application.name, entry.key.id] = self._now().timestamp()
        return entry.application

    def let_in(self, application: Application, operation: str) -> None:
        """Check what may be done at all, and how often."""
        if application is ENVIRONMENT:
            return
        if not application.may(operation):
            self._no(application, "operation")
            raise _forbidden(f"The API key of {application.name} may not be used for {operation}")
        wait_s = self._wait_s(application)
        if wait_s > 0:
            self._no(application, "rate")
            raise _too_often(f"The application {application.name} asks more often than it may", wait_s)
        self._requests.add(application.name, "let_in")

    def let_in_for(self, application: Application, tenant: str) -> None:
        """Check for whom, and how often for anybody."""
        if not application.may_for(tenant):
            self._no(application, "tenant")
            raise _forbidden(f"The API key of {application.name} may not be used for this tenant")
        if self.tenant_rates is not None and (wait_s := self.tenant_rates.take(tenant)) > 0:
            raise _too_often("This tenant is asked for more often than it may", wait_s)

    async def renew(self) -> None:
        """Read the file again; one that cannot be used changes nothing."""
        if self._file is None:
            return
        now = await asyncio.to_thread(stamp, self._file)
        self._applications = Applications(await asyncio.to_thread(_read, self._file))
        known = {application.name for application in self._applications.all}
        self._buckets = {name: bucket for name, bucket in self._buckets.items() if name in known}
        self._used = {at: when for at, when in self._used.items() if at[0] in known}
        self._stamp = now

    async def follow(self, log: structlog.typing.FilteringBoundLogger, look_s: float = _LOOK_S) -> None:
        """Look at the file from time to time, until cancelled."""
        tried = self._stamp
        while self._file is not None:
            await asyncio.sleep(look_s)
            now = await asyncio.to_thread(stamp, self._file)
            if now not in (self._stamp, tried):
                tried = now
                await self.renew_and_say(log)

    async def renew_and_say(self, log: structlog.typing.FilteringBoundLogger) -> None:
        """Read the file again and log how that went."""
        if self._file is None:
            return
        try:
            await self.renew()
        except SettingsError as wrong:
            log.error("the applications stay as they were", reason="; ".join(wrong.problems))  # noqa: TRY400
        else:
            log.info("the applications were read again", applications=len(self._applications.all))

    def _wait_s(self, application: Application) -> float:
        rate = application.requests_per_second
        if rate is None:
            return 0.0
        now_s = self._clock()
        bucket = self._buckets.get(application.name)
        if bucket is None:
            bucket = self._buckets[application.name] = Bucket(rate, application.burst or max(1.0, rate), now_s)
        return bucket.take(now_s)

    def _no(self, application: Application, why: str) -> None:
        self._requests.add(application.name, why)


def _read(path: Path) -> ApplicationsFile:
    try:
        with path.open("rb") as file:
            text = file.read(_CAP_BYTES + 1)
        if len(text) > _CAP_BYTES:
            raise WrongFileError("it is larger than a file of applications may be")
        return read_applications(text)
    except OSError as refused:
        raise SettingsError([f"TSP_APPLICATIONS_FILE: {path} cannot be read: {refused.strerror}"]) from None
    except WrongFileError as wrong:
        raise SettingsError([f"TSP_APPLICATIONS_FILE: {path} cannot be used: {wrong}"]) from None


def _forbidden(message: str) -> TenantSecurityError:
    return TenantSecurityError(Code.UNAUTHORIZED_REQUEST, message, http_status=403)


def _too_often(message: str, wait_s: float) -> TenantSecurityError:
    return TenantSecurityError(Code.KMS_THROTTLED, f"{message}; ask again later", retry_after_s=max(1.0, wait_s))
