"""The rules for our own identity: which segments this service may open, and with which keys.

* The identity is in the manifest, is not revoked, and has the keys that we hold.
* A seed that is sealed to us is believed only when it yields the segment's public key in the manifest: whoever hands
  us another seed gets nothing sealed to it.
* The segment that this service is for can be opened.

Source: docs/formats-trust.md, "Segment wraps".
"""

from collections.abc import Iterable, Mapping

from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import SigningKey, key_id
from tenant_security.crypto.unseal import CannotOpenError, OpeningKey
from tenant_security.directory.keyring import Keyring, SegmentKey
from tenant_security.secret import Secret
from tenant_security.trust.refusal import Part, RevokedError, SnapshotRefusedError
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials


def require_segment(segment: int, credentials: ServiceCredentials) -> None:
    """Check that a snapshot of this segment, 0 for all, is for this service.

    Raises: SnapshotRefusedError.
    """
    if segment not in (0, credentials.segment_id):
        raise SnapshotRefusedError(
            Part.IDENTITY,
            f"it is of segment {segment}; this service is for segment {credentials.segment_id} (SERVICE_SEGMENT_ID)",
        )


def keyring_for(
    wraps: Iterable[words.SegmentWrap], manifest: words.Manifest, credentials: ServiceCredentials | None
) -> Keyring:
    """Return the keys of the manifest's segments, with those that were sealed to this service ready to open.

    Raises: SnapshotRefusedError when the service is unknown, revoked or without its segment.
    """
    seeds = {} if credentials is None else _seeds(wraps, manifest, credentials)
    keyring = Keyring(
        SegmentKey(segment.id, segment.epoch, segment.suite, _segment_key(segment, seeds))
        for segment in manifest.segments
    )
    if credentials is not None and not keyring.can_open(credentials.segment_id):
        raise SnapshotRefusedError(
            Part.IDENTITY,
            f"it brings no key of segment {credentials.segment_id} for {credentials.account_id!r}; "
            "have the snapshot built again after the identity was added, and check SERVICE_SEGMENT_ID",
        )
    return keyring


def _segment_key(segment: words.Segment, seeds: Mapping[tuple[int, int], Secret[bytes]]) -> OpeningKey | None:
    seed = seeds.get((segment.id, segment.epoch))
    if seed is None:
        return None
    try:
        key = OpeningKey(Suite(segment.suite), seed)
    except ValueError:
        key = None
    if key is None or key.public != segment.public:
        raise SnapshotRefusedError(
            Part.IDENTITY, f"the seed sealed to us for segment {segment.id} is not of the manifest's public key"
        )
    return key


def _seeds(
    wraps: Iterable[words.SegmentWrap], manifest: words.Manifest, credentials: ServiceCredentials
) -> dict[tuple[int, int], Secret[bytes]]:
    key = _identity_key(manifest, credentials)
    recipient = key_id(key.public)
    seeds: dict[tuple[int, int], Secret[bytes]] = {}
    for wrap in wraps:
        if wrap.recipient == recipient and wrap.suite == key.suite:
            info = words.segment_seed_info(manifest.vendor, wrap.segment, wrap.epoch, recipient)
            try:
                seeds[wrap.segment, wrap.epoch] = Secret(key.open(info, wrap.sealed))
            except CannotOpenError as refused:
                raise SnapshotRefusedError(
                    Part.IDENTITY, f"the key of segment {wrap.segment} sealed to us does not open: {refused}"
                ) from None
    return seeds


def _identity_key(manifest: words.Manifest, credentials: ServiceCredentials) -> OpeningKey:
    name = credentials.account_id
    identity = next((known for known in manifest.identities if known.id == name), None)
    if identity is None:
        raise SnapshotRefusedError(Part.IDENTITY, f"the manifest does not know {name!r}; check SERVICE_ACCOUNT_ID")
    if identity.status is not words.Status.ACTIVE:
        raise RevokedError(f"{name!r} was revoked; make a new one with 'tenant-security identity new'")
    key = OpeningKey(Suite(identity.suite), credentials.encryption_seed)
    ours = (credentials.config_id, key.public, SigningKey(credentials.signing_seed).public)
    if (identity.config, identity.encryption, identity.signing) != ours:
        raise SnapshotRefusedError(
            Part.IDENTITY, f"the manifest knows {name!r} by other keys; check that the env file is the newest one"
        )
    return key
