"""A vendor's keys and everything that is the same for all of its tenants, kept in one directory.

Shape of the directory, every file of mode 0600::

    vendor.json               root, manifest, segment seeds as sealed to each identity, version of the last snapshot
    root.key                  signs the root; belongs offline once the vendor exists
    admin.key                 signs manifests and heads, and is an author for all tenants
    segment-1-epoch-1.key     the seed of a segment; needed to add identities and to wrap anew

Trust: whoever reads this directory can read every config; whoever has ``admin.key`` can change any. The fingerprint of
``root.key`` is what services pin.
Owner: one process at a time.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.identities import IdentityRequest, new_identity
from tenant_security.authoring.keyfiles import KeyFileError, read_seed, write_seed, write_whole
from tenant_security.authoring.versions import next_version
from tenant_security.crypto.seal import SealingKey, Suite
from tenant_security.crypto.signing import Kind, SigningKey, fingerprint, key_id
from tenant_security.crypto.unseal import OpeningKey, new_seed
from tenant_security.secret import Secret
from tenant_security.trust.chain import Seen, verify_manifest, verify_root
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials

DAY_S: Final = 86_400
ROOT_LIFE_S: Final = 3650 * DAY_S
MANIFEST_LIFE_S: Final = 365 * DAY_S

_STATE: Final = "vendor.json"
ROOT_KEY: Final = "root.key"
ADMIN_KEY: Final = "admin.key"
_ALL_RIGHTS: Final = (words.May.RECORD, words.May.CONFIG, words.May.AUTHORS)


class VendorState(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What ``vendor.json`` holds. Nothing in it is secret."""

    root: words.Signed
    manifest: words.Signed
    segment_wraps: tuple[words.SegmentWrap, ...]
    snapshot_version: int


class UnknownNameError(Exception):
    """There is no identity, segment or author of this name."""


class Vendor:
    """One vendor. Every change raises the manifest's version, signs it and saves it at once."""

    def __init__(self, directory: Path, state: VendorState, clock: Callable[[], float]) -> None:
        self.directory: Final = directory
        self._state = state
        self._clock: Final = clock
        self.root = words.decode(words.Root, state.root.body)
        self._manifest = words.decode(words.Manifest, state.manifest.body)
        self.admin: Final = SigningKey(read_seed(directory / ADMIN_KEY))
        self._opening: Final[dict[tuple[int, int], OpeningKey]] = {}

    @classmethod
    def create(
        cls, directory: Path, vendor_id: str, *, suite: Suite = Suite.XWING, clock: Callable[[], float] = time.time
    ) -> "Vendor":
        """Make a vendor with its root key, its admin key and segment 1.

        Raises: KeyFileError when the directory already holds a vendor.
        """
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        seeds = {name: new_seed() for name in (ROOT_KEY, ADMIN_KEY, _seed_name(1, 1))}
        for name, seed in seeds.items():
            write_seed(directory / name, seed)
        root_key, admin = SigningKey(seeds[ROOT_KEY]), SigningKey(seeds[ADMIN_KEY])
        now_s = int(clock())
        root = words.Root(
            vendor=vendor_id,
            version=next_version(0, now_s),
            created=now_s,
            expires=now_s + ROOT_LIFE_S,
            root_key=root_key.public,
            keys=(words.RootKey(admin.public, (words.Signs.MANIFEST, words.Signs.HEAD)),),
        )
        manifest = words.Manifest(
            vendor=vendor_id,
            version=next_version(0, now_s),
            created=now_s,
            expires=now_s + MANIFEST_LIFE_S,
            segments=(_segment(1, 1, suite, seeds[_seed_name(1, 1)], ()),),
            identities=(),
            authors=(words.Author(admin.public, "admin", words.SHARED, _ALL_RIGHTS),),
        )
        words.decode(words.Root, words.encode(root))  # refuses a vendor id that readers would refuse
        state = VendorState(
            root=documents.sign(Kind.ROOT, root, root_key),
            manifest=documents.sign(Kind.MANIFEST, manifest, admin),
            segment_wraps=(),
            snapshot_version=0,
        )
        vendor = cls(directory, state, clock)
        vendor._save()
        return vendor

    @classmethod
    def load(cls, directory: Path, *, clock: Callable[[], float] = time.time) -> "Vendor":
        """Open the directory of a vendor that was created before.

        Raises: KeyFileError.
        """
        path = directory / _STATE
        try:
            state = msgspec.json.decode(path.read_bytes(), type=VendorState)
            return cls(directory, state, clock)
        except OSError as failure:
            raise KeyFileError(
                f"{directory} holds no vendor ({failure.strerror}); make one with 'snapshot init'"
            ) from None
        except (msgspec.DecodeError, words.MalformedError) as malformed:
            raise KeyFileError(f"{path} is damaged: {malformed}") from None

    @property
    def id(self) -> str:
        """The vendor's name in every document."""
        return self.root.vendor

    @property
    def root_fingerprint(self) -> str:
        """What services pin."""
        return fingerprint(self.root.root_key)

    @property
    def manifest(self) -> words.Manifest:
        """The newest manifest."""
        return self._manifest

    @property
    def state(self) -> VendorState:
        """The signed documents, for whoever writes snapshots."""
        return self._state

    def now_s(self) -> int:
        """Return the time by this vendor's clock, in Unix seconds."""
        return int(self._clock())

    def add_identity(
        self, name: str, *, config_id: int | None = None, segment: int = 1, tags: Iterable[str] = ()
    ) -> ServiceCredentials:
        """Make a service identity here and let it in. The result is all that the service needs, and is secret.

        Raises: ValueError when the name or number is taken.
        """
        number = max((known.config for known in self._manifest.identities), default=0) + 1
        suite = Suite(self.segment(segment).suite)
        request, encryption, signing = new_identity(name, config_id or number, suite, tags)
        self.approve_identity(request)
        return ServiceCredentials(name, request.config, segment, encryption, signing, self.root_fingerprint)

    def add_bridge(self, name: str) -> ServiceCredentials:
        """Make the identity of a vendor bridge here and let it in: it may sign for all tenants.

        It opens what is sealed to the bridges' own segment, which is made with the first of them, and cannot open
        what tenants seal to proxies. Raises: ValueError when the name is taken.
        """
        bridges = (segment.id for segment in self._manifest.segments if words.BRIDGE_TAG in segment.tags)
        segment = next(bridges, None) or self.add_segment(tags=(words.BRIDGE_TAG,))
        credentials = self.add_identity(name, segment=segment, tags=(words.BRIDGE_TAG,))
        self.add_author(SigningKey(credentials.signing_seed).public, name, tenant=words.SHARED)
        return credentials

    def approve_identity(self, request: IdentityRequest) -> None:
        """Let an identity in that was made elsewhere. Compare ``request.fingerprint`` with its maker's first.

        Raises: ValueError when its name or number is taken, or its key malformed.
        """
        identities = self._manifest.identities
        if any(known.id == request.id or known.config == request.config for known in identities):
            raise ValueError(f"an identity named {request.id!r} or numbered {request.config} exists; choose another")
        identity = words.ServiceIdentity(
            id=request.id,
            config=request.config,
            suite=request.suite,
            encryption=request.encryption,
            signing=request.signing,
            tags=request.tags,
            status=words.Status.ACTIVE,
        )
        self._publish(identities=(*identities, identity))

    def revoke_identity(self, name: str, *, keep_epochs: bool = False) -> None:
        """Stop trusting an identity, and begin a new epoch in every segment that it could open.

        The configs it could read are known to it for good: their credentials should be rotated at the KMS. With
        ``keep_epochs`` the old epoch stays beside the new one, until every config is wrapped anew.
        Raises: UnknownNameError.
        """
        gone = next((known for known in self._manifest.identities if known.id == name), None)
        if gone is None:
            raise UnknownNameError(f"there is no identity {name!r}")
        revoked = msgspec.structs.replace(gone, status=words.Status.REVOKED)
        kept = tuple(author for author in self._manifest.authors if author.public != gone.signing)
        self._publish(
            authors=kept,
            identities=tuple(revoked if known is gone else known for known in self._manifest.identities),
            segments=self._rotated([each for each in self.segments if words.entitled(gone.tags, each)], keep_epochs),
        )

    def add_segment(self, *, tags: Iterable[str] = (), suite: Suite = Suite.XWING) -> int:
        """Begin a segment for the identities that have all of these tags, and return its number."""
        number = max(segment.id for segment in self._manifest.segments) + 1
        seed = new_seed()
        write_seed(self.directory / _seed_name(number, 1), seed)
        self._publish(segments=(*self._manifest.segments, _segment(number, 1, suite, seed, tuple(tags))))
        return number

    def rotate_segment(self, number: int, *, keep_epochs: bool = False) -> None:
        """Begin a new epoch; the next snapshot that is written wraps every config anew.

        With ``keep_epochs`` the old one stays beside it, until every config is wrapped anew.
        Raises: UnknownNameError.
        """
        self._publish(segments=self._rotated([self.segment(number)], keep_epochs))

    def rotates(self, number: int) -> bool:
        """Whether a segment has an older epoch beside its newest one."""
        return sum(each.id == number for each in self._manifest.segments) > 1

    def services_of(self, segment: words.Segment) -> tuple[str, ...]:
        """Name the services that open a segment."""
        active = (each for each in self._manifest.identities if each.status is words.Status.ACTIVE)
        return tuple(each.id for each in active if words.entitled(each.tags, segment))

    def drop_old_epochs(self, number: int) -> bool:
        """End every epoch of a segment but the newest, and return whether there was another.

        Raises: UnknownNameError.
        """
        newest = self.segment(number)
        kept = tuple(each for each in self._manifest.segments if each.id != number or each is newest)
        if kept == self._manifest.segments:
            return False
        self._publish(segments=kept)
        return True

    def _rotated(self, chosen: Iterable[words.Segment], keep_epochs: bool) -> tuple[words.Segment, ...]:
        rotated = list(self._manifest.segments)
        for old in chosen:
            fresh = self._next_epoch(old)
            if keep_epochs:
                rotated.insert(rotated.index(old) + 1, fresh)
            else:
                rotated = [each for each in rotated if each.id != old.id] + [fresh]
        return tuple(sorted(rotated, key=lambda each: (each.id, each.epoch)))

    def share_segments(self, admins: Iterable[SealingKey]) -> bool:
        """Seal every segment's seed to these admins' keys too, where that is missing; return whether anything was.

        Without it an admin who works in a browser cannot open what is sealed to a new epoch.
        """
        there = {(wrap.segment, wrap.epoch, wrap.recipient) for wrap in self._state.segment_wraps}
        missing = [
            documents.wrap_seed(self.id, segment, read_seed(path), admin)
            for admin in admins
            for segment in self._manifest.segments
            if (segment.id, segment.epoch, key_id(admin.public)) not in there
            and (path := self.directory / _seed_name(segment.id, segment.epoch)).exists()
        ]
        if missing:
            wraps = (*self._state.segment_wraps, *missing)
            self._state = msgspec.structs.replace(self._state, segment_wraps=wraps)
            self._save()
        return bool(missing)

    def is_ahead_of(self, root: words.Signed, manifest: words.Signed) -> bool:
        """Whether what is here is newer than these documents, which are not verified. Raises: MalformedError."""
        theirs = words.decode(words.Root, root.body).version, words.decode(words.Manifest, manifest.body).version
        ours = self.root.version, self._manifest.version
        return theirs != ours and all(old <= new for old, new in zip(theirs, ours, strict=True))

    def adopt(self, root: words.Signed, manifest: words.Signed, wraps: tuple[words.SegmentWrap, ...]) -> bool:
        """Take over newer documents of this vendor, such as another admin has made; return whether there were any.

        Raises: SnapshotRefusedError when they do not verify or are older than what is here.
        """
        if (root, manifest) == (self._state.root, self._state.manifest):
            return False
        seen = Seen(
            root_version=self.root.version,
            root_hash=words.sha256(self._state.root.body),
            manifest_version=self._manifest.version,
            manifest_hash=words.sha256(self._state.manifest.body),
        )
        judged = verify_root(root, pinned=self.root_fingerprint, previous=seen, now_s=self.now_s())
        newer = verify_manifest(manifest, judged, previous=seen, now_s=self.now_s())
        self.root, self._manifest = judged, newer
        self._state = msgspec.structs.replace(self._state, root=root, manifest=manifest, segment_wraps=wraps)
        self._save()
        return True

    def add_author(self, public: bytes, name: str, *, tenant: str, may: Iterable[words.May] = _ALL_RIGHTS) -> None:
        """Let a key sign entries of one tenant, or of all when ``tenant`` is empty.

        Raises: ValueError when the key is an author already.
        """
        if any(author.public == public for author in self._manifest.authors):
            raise ValueError(f"{key_id(public)} is an author already")
        self._publish(authors=(*self._manifest.authors, words.Author(public, name, tenant, tuple(may))))

    def add_admin(self, public: bytes, name: str, recipient: SealingKey) -> None:
        """Let a key sign for all tenants and for the manifest too, and its holder read every segment.

        Raises: ValueError when the key is an author already; KeyFileError when ``root.key`` is not here.
        """
        signs = words.RootKey(public, (words.Signs.MANIFEST, words.Signs.HEAD))
        wraps = tuple(
            documents.wrap_seed(self.id, segment, self._seed(segment), recipient) for segment in self.segments
        )
        with self._root_with((*self.root.keys, signs), wraps):
            self.add_author(public, name, tenant=words.SHARED)

    def let_in(self, admin: bytes) -> None:
        """Let a second admin key of this directory sign all that the first may.

        Raises: KeyFileError when ``root.key`` is not here; ValueError when the key is an author already.
        """
        signs = words.RootKey(admin, (words.Signs.MANIFEST, words.Signs.HEAD))
        with self._root_with((*self.root.keys, signs)):
            self.add_author(admin, "admin", tenant=words.SHARED, may=_ALL_RIGHTS)

    def take_out(self, admin: bytes) -> None:
        """Take all rights from an admin key; what it alone has signed counts no more.

        Raises: KeyFileError when ``root.key`` is not here; UnknownNameError; ValueError for the key that we sign with.
        """
        if admin == self.admin.public:
            raise ValueError("the key that signs here cannot take itself out; put another in its place first")
        with self._root_with(tuple(each for each in self.root.keys if each.public != admin)):
            self.remove_author(key_id(admin))

    @contextlib.contextmanager
    def _root_with(self, keys: tuple[words.RootKey, ...], wraps: tuple[words.SegmentWrap, ...] = ()) -> Iterator[None]:
        """Sign a root that names these keys, for the manifest that the block publishes; undone where it cannot."""
        root_key = SigningKey(read_seed(self.directory / ROOT_KEY))
        version = next_version(self.root.version, self.now_s())
        before = self.root, self._state
        self.root = msgspec.structs.replace(self.root, version=version, keys=keys)
        self._state = msgspec.structs.replace(
            self._state,
            root=documents.sign(Kind.ROOT, self.root, root_key),
            segment_wraps=(*self._state.segment_wraps, *wraps),
        )
        try:
            yield
        except (ValueError, UnknownNameError):
            self.root, self._state = before
            raise

    def _seed(self, segment: words.Segment) -> Secret[bytes]:
        return read_seed(self.directory / _seed_name(segment.id, segment.epoch))

    def remove_author(self, author_key_id: str) -> None:
        """Take an author's rights away; what only it has signed is quarantined until somebody signs it again.

        Raises: UnknownNameError.
        """
        kept = tuple(author for author in self._manifest.authors if key_id(author.public) != author_key_id)
        if len(kept) == len(self._manifest.authors):
            raise UnknownNameError(f"there is no author {author_key_id}")
        self._publish(authors=kept)

    def require_head(self, required: bool = True) -> None:
        """Say whether services may accept a snapshot without a head."""
        self._publish(head_required=required)

    def renew(self) -> None:
        """Sign the manifest again for its whole life, when half of it is over."""
        if self._manifest.expires - self.now_s() < MANIFEST_LIFE_S // 2:
            self._publish()

    def segment(self, number: int) -> words.Segment:
        """Return a segment in its newest epoch.

        Raises: UnknownNameError.
        """
        epochs = [segment for segment in self._manifest.segments if segment.id == number]
        if not epochs:
            raise UnknownNameError(f"there is no segment {number}")
        return max(epochs, key=lambda segment: segment.epoch)

    @property
    def segments(self) -> tuple[words.Segment, ...]:
        """Every segment in its newest epoch, by number."""
        numbers = sorted({each.id for each in self._manifest.segments})
        return tuple(self.segment(number) for number in numbers)

    def opening_key(self, segment: int, epoch: int) -> OpeningKey:
        """Return the private key of a segment's epoch.

        Raises: KeyFileError.
        """
        at = segment, epoch
        if at not in self._opening:
            suite = Suite(self.segment(segment).suite)
            self._opening[at] = OpeningKey(suite, read_seed(self.directory / _seed_name(segment, epoch)))
        return self._opening[at]

    def seal_config(
        self,
        tenant: str,
        config_id: int,
        config_json: bytes,
        *,
        kind: Literal["kms", "sink"] = "kms",
        version: int = 0,
        segment: int = 1,
    ) -> words.ConfigEnvelope:
        """Seal and sign a config of a tenant, or of the vendor when ``tenant`` is empty, after the last ``version``."""
        now_s = self.now_s()
        header = words.ConfigHeader(
            vendor=self.id,
            tenant=tenant,
            config=config_id,
            kind=kind,
            version=next_version(version, now_s),
            created=now_s,
        )
        return documents.seal_config(header, config_json, self.segment(segment), self.admin)

    def tenant_record(
        self,
        tenant: str,
        assignments: Iterable[words.RecordAssignment],
        *,
        leasing_required: bool = False,
        version: int = 0,
        configs: Iterable[words.ConfigEnvelope] = (),
        spares: tuple[int, ...] = (),
    ) -> words.Signed:
        """Sign what a tenant is, after the last ``version``, and vouch for those of its ``configs`` that we signed."""
        record = words.TenantRecord(
            vendor=self.id,
            tenant=tenant,
            version=next_version(version, self.now_s()),
            leasing_required=leasing_required,
            assignments=tuple(assignments),
            spares=spares,
            vouches=tuple(words.fingerprint_of(each) for each in configs if each.author == self.admin.key_id),
        )
        return documents.sign(Kind.RECORD, record, self.admin)

    def sign_head(self, head: words.Head) -> words.Signed:
        """Sign what is newest."""
        return documents.sign(Kind.HEAD, head, self.admin)

    def next_snapshot_version(self) -> int:
        """Return the version for a new snapshot, and remember it."""
        version = next_version(self._state.snapshot_version, self.now_s())
        self._state = msgspec.structs.replace(self._state, snapshot_version=version)
        self._save()
        return version

    def _publish(
        self,
        *,
        segments: tuple[words.Segment, ...] | None = None,
        identities: tuple[words.ServiceIdentity, ...] | None = None,
        authors: tuple[words.Author, ...] | None = None,
        head_required: bool | None = None,
    ) -> None:
        now_s, old = self.now_s(), self._manifest
        manifest = words.Manifest(
            vendor=old.vendor,
            version=next_version(old.version, now_s),
            created=now_s,
            expires=now_s + MANIFEST_LIFE_S,
            segments=old.segments if segments is None else segments,
            identities=old.identities if identities is None else identities,
            authors=old.authors if authors is None else authors,
            head_required=old.head_required if head_required is None else head_required,
        )
        signed = documents.sign(Kind.MANIFEST, manifest, self.admin)
        words.decode(words.Manifest, signed.body)  # refuses names that readers would refuse
        wraps = tuple(self._wraps(manifest))
        self._manifest = manifest
        self._state = msgspec.structs.replace(self._state, manifest=signed, segment_wraps=wraps)
        self._save()

    def _wraps(self, manifest: words.Manifest) -> Iterable[words.SegmentWrap]:
        """Yield each entitled identity's wrap of each segment, keeping those that exist, and those of admins."""
        services = {key_id(each.encryption) for each in manifest.identities}
        alive = {(segment.id, segment.epoch) for segment in manifest.segments}
        for wrap in self._state.segment_wraps:
            if wrap.recipient not in services and (wrap.segment, wrap.epoch) in alive:
                yield wrap
        made = {(wrap.segment, wrap.epoch, wrap.recipient): wrap for wrap in self._state.segment_wraps}
        for segment in manifest.segments:
            for identity in manifest.identities:
                if identity.status is words.Status.ACTIVE and words.entitled(identity.tags, segment):
                    at = segment.id, segment.epoch, key_id(identity.encryption)
                    yield made.get(at) or self._wrap(segment, identity)

    def _wrap(self, segment: words.Segment, identity: words.ServiceIdentity) -> words.SegmentWrap:
        seed = read_seed(self.directory / _seed_name(segment.id, segment.epoch))
        return documents.wrap_seed(self.id, segment, seed, SealingKey(Suite(identity.suite), identity.encryption))

    def _next_epoch(self, segment: words.Segment) -> words.Segment:
        seed, epoch = new_seed(), segment.epoch + 1
        write_seed(self.directory / _seed_name(segment.id, epoch), seed)
        return _segment(segment.id, epoch, Suite(segment.suite), seed, segment.tags)

    def _save(self) -> None:
        pretty = msgspec.json.format(msgspec.json.encode(self._state), indent=1)
        write_whole(self.directory / _STATE, [pretty, b"\n"])


def _seed_name(segment: int, epoch: int) -> str:
    return f"segment-{segment}-epoch-{epoch}.key"


def _segment(number: int, epoch: int, suite: Suite, seed: Secret[bytes], tags: tuple[str, ...]) -> words.Segment:
    return words.Segment(id=number, epoch=epoch, suite=suite.value, public=OpeningKey(suite, seed).public, tags=tags)
