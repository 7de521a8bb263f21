"""The vendor's keys as the bridge believes them: judged from the pinned root on, never older than it has seen."""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from tenant_security.bridge.broker import Broker
from tenant_security.crypto.signing import SigningKey
from tenant_security.directory.entitlement import keyring_for
from tenant_security.directory.keyring import Keyring
from tenant_security.trust.chain import NOTHING_SEEN, Authors, Seen, trusted_authors, verify_manifest, verify_root
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import VendorDocuments
from tenant_security.wire.service_env import ServiceCredentials

_FRESH_S: Final = 30.0
"""How long the documents are believed to be the newest. Units: seconds."""


class VendorKeys(NamedTuple):
    """Who may sign, whom to seal to, and what this bridge can open."""

    manifest: words.Manifest
    authors: Authors
    keyring: Keyring

    @property
    def vendor(self) -> str:
        """The vendor's id."""
        return self.manifest.vendor

    def segments(self) -> tuple[words.Segment, ...]:
        """Return the newest epoch of every segment: a config of the vendor is sealed to all of them."""
        newest: dict[int, words.Segment] = {}
        for segment in self.manifest.segments:
            if segment.id not in newest or segment.epoch > newest[segment.id].epoch:
                newest[segment.id] = segment
        return tuple(newest[number] for number in sorted(newest))


class KeysHolder:
    """Reads the vendor's documents when they are asked for and not fresh any more.

    Raises, from :meth:`current`: SnapshotRefusedError when they do not verify, or this bridge was revoked;
    BrokerRefusedError; UnreachableError.
    """

    def __init__(
        self, broker: Broker, credentials: ServiceCredentials, now_s: Callable[[], float], clock: Callable[[], float]
    ) -> None:
        self._broker: Final = broker
        self._credentials: Final = credentials
        self._now_s: Final = now_s
        self._clock: Final = clock
        self._lock: Final = asyncio.Lock()
        self._read_at = -_FRESH_S
        self._keys: VendorKeys | None = None
        self._seen = NOTHING_SEEN
        self.author: Final = SigningKey(credentials.signing_seed)

    async def current(self) -> VendorKeys:
        """Return the vendor's keys, at most half a minute old."""
        async with self._lock:
            if self._keys is None or self._clock() - self._read_at >= _FRESH_S:
                self._keys, self._seen = self._judge(await self._broker.own_vendor())
                self._read_at = self._clock()
            return self._keys

    def forget(self) -> None:
        """Read anew next time: somebody has changed them."""
        self._read_at = -_FRESH_S

    def _judge(self, documents: VendorDocuments) -> tuple[VendorKeys, Seen]:
        now_s, seen = int(self._now_s()), self._seen
        root = verify_root(documents.root, pinned=self._credentials.root_fingerprint, previous=seen, now_s=now_s)
        manifest = verify_manifest(documents.manifest, root, previous=seen, now_s=now_s)
        keyring = keyring_for(documents.segment_wraps, manifest, self._credentials)
        newly_seen = Seen(
            root_version=root.version,
            root_hash=words.sha256(documents.root.body),
            manifest_version=manifest.version,
            manifest_hash=words.sha256(documents.manifest.body),
        )
        return VendorKeys(manifest, trusted_authors(manifest), keyring), newly_seen
