"""Keys derived from tenant secrets, for deterministic encryption and search.

A secret is made on the first use of its path, wrapped by the tenant's primary KMS config and stored; one winner under
concurrency. Plain secrets are cached for a bounded time and only while the config that wrapped them may be used.

Source: docs/proxy-api.md, "Derive"; docs/formats.md, "Derived keys".
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple

import msgspec

from tenant_security.crypto.aead import random_bytes
from tenant_security.crypto.derive import HASHES, derive_key
from tenant_security.directory.tenants import Assignment, Tenant
from tenant_security.errors import Code, TenantSecurityError
from tenant_security.proxy.keys import Keys
from tenant_security.proxy.secret_store import Rotation, SecretRecord, SecretStore
from tenant_security.proxy.several import WrapWithKms, unwrap_dek, wrap_dek
from tenant_security.proxy.single_flight import SingleFlight
from tenant_security.secret import Secret
from tenant_security.wire import edek
from tenant_security.wire.events import SUCCESS, Operation
from tenant_security.wire.proxy_api import DerivedKey, DeriveRequest, DeriveResponse

SECRET_TYPES: Final = frozenset({"search", "deterministic", "vector"})
_SECRET_BYTES: Final = 32
_PAUSE_EVERY: Final = 500
"""After so many derivations the event loop gets a turn."""


class SecretPolicy(msgspec.Struct, frozen=True):
    """Bounds of the cache. Units: seconds; paths of all tenants; derivations in one request."""

    fresh_s: float = 60.0
    most_paths: int = 10_000
    most_derivations: int = 10_000


class PlainSecret(NamedTuple):
    """A secret ready to derive from."""

    id: int
    current: bool
    secret: Secret[bytes]
    fingerprint: bytes


class _Cached(NamedTuple):
    secrets: tuple[PlainSecret, ...]
    until: float


class TenantSecrets:
    """Derives keys. One per process; owner of the cache."""

    def __init__(
        self,
        keys: Keys,
        kms: WrapWithKms,
        store: SecretStore,
        policy: SecretPolicy,
        start: Callable[[Coroutine[Any, Any, None]], object],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        self._kms = kms
        self._store = store
        self._policy = policy
        self._clock = clock
        self._cache: OrderedDict[tuple[str, str, str], _Cached] = OrderedDict()
        self._loading: SingleFlight[tuple[str, str, str, bytes], tuple[PlainSecret, ...]] = SingleFlight(start)

    def __len__(self) -> int:
        return len(self._cache)

    async def derive(self, tenant: Tenant, request: DeriveRequest) -> DeriveResponse:
        """Derive every key that a request asks for, the current secret's first.

        Raises: 102 for what we do not serve; 202, 205-210 from unwrapping a secret; 401 when one cannot be stored.
        """
        self.check(request)
        derived: dict[str, dict[str, list[DerivedKey]]] = {}
        count = 0
        for secret_path, derivation_paths in request.paths.items():
            secrets = await self._secrets(tenant, request.secret_type, secret_path)
            by_path: dict[str, list[DerivedKey]] = {}
            for derivation_path in derivation_paths:
                by_path[derivation_path] = [
                    self._derive(each, tenant.id, derivation_path, request.derivation_type) for each in secrets
                ]
                count += 1
                if count % _PAUSE_EVERY == 0:
                    await asyncio.sleep(0)
            derived[secret_path] = by_path
        return DeriveResponse(has_primary_config=tenant.primary is not None, derived_keys=derived)

    def derive_cached(self, tenant: Tenant, request: DeriveRequest, *, most: int) -> DeriveResponse | None:
        """Derive without waiting; None unless every secret is in memory and at most so many keys are asked for."""
        if (
            tenant.quarantined is not None
            or not tenant.has_active
            or request.derivation_type not in HASHES
            or request.secret_type not in SECRET_TYPES
            or _asked_for(request) > min(most, self._policy.most_derivations)
        ):
            return None
        derived: dict[str, dict[str, list[DerivedKey]]] = {}
        for secret_path, derivation_paths in request.paths.items():
            secrets = self._cached(tenant, (tenant.id, request.secret_type, secret_path))
            if secrets is None:
                return None
            derived[secret_path] = {
                derivation_path: [
                    self._derive(each, tenant.id, derivation_path, request.derivation_type) for each in secrets
                ]
                for derivation_path in derivation_paths
            }
        return DeriveResponse(has_primary_config=tenant.primary is not None, derived_keys=derived)

    def check(self, request: DeriveRequest) -> None:
        """Refuse what we do not serve. Raises: 102."""
        if request.derivation_type == "argon2":
            raise _invalid(
                "derivationType 'argon2' is not supported: its parameters were never published, so keys derived here "
                "could not match those of another proxy; use 'sha512'"
            )
        if request.derivation_type not in HASHES:
            raise _invalid("derivationType must be 'sha512' or 'sha256'")
        if request.secret_type not in SECRET_TYPES:
            raise _invalid("secretType must be 'deterministic', 'search' or 'vector'")
        count = _asked_for(request)
        if count > self._policy.most_derivations:
            raise _invalid(
                f"paths asks for {count} keys; at most {self._policy.most_derivations} fit in one request, send several"
            )

    @staticmethod
    def _derive(each: PlainSecret, tenant_id: str, derivation_path: str, derivation_type: str) -> DerivedKey:
        key = derive_key(each.secret.reveal(), tenant_id, derivation_path, derivation_type)
        return DerivedKey(edek.to_base64(key), each.id, each.current)

    async def _secrets(self, tenant: Tenant, secret_type: str, secret_path: str) -> tuple[PlainSecret, ...]:
        key = (tenant.id, secret_type, secret_path)
        cached = self._cached(tenant, key)
        if cached is not None:
            return cached
        primary = tenant.primary
        flight = (*key, primary.config.fingerprint if primary is not None else b"")
        return await self._loading.get(flight, lambda: self._load(tenant, key))

    def _cached(self, tenant: Tenant, key: tuple[str, str, str]) -> tuple[PlainSecret, ...] | None:
        cached = self._cache.get(key)
        if cached is None or self._clock() >= cached.until:
            return None
        return cached.secrets if all(_holds(tenant, each.fingerprint) for each in cached.secrets) else None

    async def _load(self, tenant: Tenant, key: tuple[str, str, str]) -> tuple[PlainSecret, ...]:
        try:
            records = await self._store.live(*key)
            if not any(each.rotation is Rotation.CURRENT for each in records) and tenant.primary is not None:
                records = [await self._create(tenant, key), *records]
        except OSError as broken:
            raise TenantSecurityError(
                Code.SECRET_CREATION_FAILED, "The tenant's secrets could not be read or stored; try again"
            ) from broken
        secrets = tuple([await self._open(tenant, each) for each in records])
        if secrets:
            self._cache[key] = _Cached(secrets, self._clock() + self._policy.fresh_s)
            self._cache.move_to_end(key)
            if len(self._cache) > self._policy.most_paths:
                self._cache.popitem(last=False)
        return secrets

    async def _create(self, tenant: Tenant, key: tuple[str, str, str]) -> SecretRecord:
        self._keys.primary(tenant)
        secret = random_bytes(_SECRET_BYTES)
        made = await wrap_dek(self._kms, tenant, secret)
        return await self._store.create(*key, made.wrapped, secret=Secret(secret))

    async def _open(self, tenant: Tenant, record: SecretRecord) -> PlainSecret:
        secret, use = await open_secret(self._kms, tenant, record)
        return PlainSecret(record.id, record.rotation is Rotation.CURRENT, secret, use.config.fingerprint)

    def retain(self, wanted: Callable[[str, bytes], bool]) -> None:
        """Drop what is stale and what its tenant may no longer use: ``wanted(tenant id, config fingerprint)``."""
        now = self._clock()
        for key, cached in list(self._cache.items()):
            if now >= cached.until or not all(wanted(key[0], each.fingerprint) for each in cached.secrets):
                del self._cache[key]


async def open_secret(kms: WrapWithKms, tenant: Tenant, record: SecretRecord) -> tuple[Secret[bytes], Assignment]:
    """Unwrap a secret, and see that it is the one of its place. Returns it and what unwrapped it.

    Raises: 202, 203, 205-210 from unwrapping; 401 when it is another secret: whoever keeps it put it there.
    """
    secret, use = await unwrap_dek(kms, tenant, edek.decode_all(record.edek))
    if record.vouched is not None and not record.vouched.fits(secret):
        raise TenantSecurityError(
            Code.SECRET_CREATION_FAILED,
            f"Tenant secret {record.id}, as the broker shows it, is not the secret of this tenant, type and path: it "
            "was exchanged or altered at the broker. Nothing was derived from it; the operator restores the broker's "
            "database from a backup",
        )
    return Secret(secret), use


def derived(tenant: Tenant, request: DeriveRequest, response: DeriveResponse) -> Operation:
    """What to record of a derivation. The config named is the primary, which wraps new secrets."""
    primary = tenant.primary
    count = sum(len(keys) for by_path in response.derived_keys.values() for keys in by_path.values())
    return Operation(
        outcome=SUCCESS,
        count=count,
        kms_config_id=primary.config.id if primary is not None else None,
        kms_config_version=primary.config.version if primary is not None else None,
        secret_paths=list(request.paths),
    )


def _asked_for(request: DeriveRequest) -> int:
    """Return how much work a request is: its keys, or its secrets where those are more."""
    return max(len(request.paths), sum(len(each) for each in request.paths.values()))


def _holds(tenant: Tenant, fingerprint: bytes) -> bool:
    return any(each.active and each.config.fingerprint == fingerprint for each in tenant.assignments)


def _invalid(message: str) -> TenantSecurityError:
    return TenantSecurityError(Code.INVALID_REQUEST_BODY, message)
