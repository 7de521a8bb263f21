"""A vendor: its root, its manifest, the segments' seeds as sealed to their recipients, and its heads."""

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from tenant_security.broker import schema
from tenant_security.broker.database import Change
from tenant_security.broker.refusals import ConflictError, NotAllowedNowError
from tenant_security.broker.trusted import VendorTrust, refused, vendor_trust
from tenant_security.crypto.signing import fingerprint, key_id
from tenant_security.trust.chain import NOTHING_SEEN, Seen, trusted_authors, verify_head, verify_manifest, verify_root
from tenant_security.trust.refusal import SnapshotRefusedError
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import VendorDocuments


async def create_vendor(change: Change, name: str, documents: VendorDocuments) -> None:
    """Keep a new vendor. Its root is believed as it comes: whoever pins its fingerprint knows better.

    Raises: NotAllowedNowError when the documents do not verify; ConflictError when there is such a vendor.
    """
    root, manifest = _judged(documents, NOTHING_SEEN, change.now_ms // 1000, pinned=None)
    if root.vendor != change.vendor:
        raise NotAllowedNowError(f"the documents are of vendor {root.vendor!r}")
    taken = sa.select(schema.vendors.c.id).where(schema.vendors.c.id == change.vendor)
    if (await change.connection.execute(taken)).first() is not None:
        raise ConflictError(f"there is a vendor {change.vendor!r} already")
    await change.connection.execute(
        schema.vendors.insert().values(
            id=change.vendor,
            name=name,
            root_fingerprint=fingerprint(root.root_key),
            revision=change.touch(),
            changes_from=change.revision,
            next_config=1,
            next_secret=1,
            **_columns(documents, root, manifest),
            **change.made,
        )
    )
    await _keep_wraps(change, documents)
    await _follow_identities(change, manifest)
    await change.record("vendor.create", change.vendor, detail={"rootFingerprint": fingerprint(root.root_key)})


async def put_documents(change: Change, documents: VendorDocuments) -> None:
    """Keep a newer root or manifest, with all of the segments' seeds.

    Raises: NotAllowedNowError when they do not verify or are older than what is kept.
    """
    trust = await vendor_trust(change.connection, change.vendor)
    root, manifest = _judged(documents, _seen(trust), change.now_ms // 1000, pinned=fingerprint(trust.root.root_key))
    await change.connection.execute(
        schema.vendors.update()
        .where(schema.vendors.c.id == change.vendor)
        .values(**_columns(documents, root, manifest))
    )
    change.touch()
    await _keep_wraps(change, documents)
    await _follow_identities(change, manifest)
    detail = {"manifestVersion": manifest.version, "rootVersion": root.version, "signedBy": documents.manifest.key}
    await change.record("vendor.documents", change.vendor, detail=detail)


async def read_documents(connection: AsyncConnection, vendor: str) -> VendorDocuments:
    """Read a vendor's root, its manifest and the segments' seeds as sealed to each recipient.

    Raises: NotFoundError.
    """
    trust, wraps = await vendor_trust(connection, vendor), schema.segment_wraps
    rows = await connection.execute(
        sa.select(wraps).where(wraps.c.vendor == vendor).order_by(wraps.c.segment, wraps.c.epoch, wraps.c.recipient)
    )
    sealed = tuple(words.SegmentWrap(row.segment, row.epoch, row.recipient, row.suite, row.sealed) for row in rows)
    return VendorDocuments(trust.root_signed, trust.manifest_signed, sealed)


async def put_head(change: Change, signed: words.Signed) -> words.Head:
    """Keep a head for its segment.

    Raises: NotAllowedNowError when it does not verify, or a newer one is kept.
    """
    trust = await vendor_trust(change.connection, change.vendor)
    try:
        head = verify_head(signed, trust.manifest_signed, trust.root, trust.authors, now_s=change.now_ms // 1000)
    except SnapshotRefusedError as why:
        raise refused(why) from None
    heads = schema.heads
    mine = sa.and_(heads.c.vendor == change.vendor, heads.c.segment == head.segment)
    kept = (await change.connection.execute(sa.select(heads.c.snapshot_version).where(mine))).scalar_one_or_none()
    if kept is not None and head.snapshot_version < kept:
        raise NotAllowedNowError(f"a head of snapshot {kept} is kept; this one is of {head.snapshot_version}")
    await change.connection.execute(heads.delete().where(mine))
    await change.connection.execute(
        heads.insert().values(
            vendor=change.vendor,
            segment=head.segment,
            signed=words.encode(signed),
            snapshot_version=head.snapshot_version,
            expires_ms=head.expires * 1000,
        )
    )
    detail = {"snapshotVersion": head.snapshot_version, "expires": head.expires, "signedBy": signed.key}
    await change.record("head.publish", str(head.segment), detail=detail)
    return head


async def reserve_config_number(change: Change, *, through: int | None = None) -> int:
    """Take a number for a config that is about to be sealed; it is never given out again.

    With ``through`` all numbers up to it are taken, for who numbers configs by themselves; it is returned.
    """
    number = await change.connection.execute(
        sa.select(schema.vendors.c.next_config).where(schema.vendors.c.id == change.vendor)
    )
    upcoming = int(number.scalar_one())
    taken = upcoming if through is None else through
    if taken < upcoming:
        return taken  # everything up to it was taken before
    await change.connection.execute(
        schema.vendors.update().where(schema.vendors.c.id == change.vendor).values(next_config=taken + 1)
    )
    await change.record("config.reserve", str(taken))
    return taken


def _judged(
    documents: VendorDocuments, seen: Seen, now_s: int, *, pinned: str | None
) -> tuple[words.Root, words.Manifest]:
    try:
        claimed = words.decode(words.Root, documents.root.body)
        root = verify_root(documents.root, pinned=pinned or fingerprint(claimed.root_key), previous=seen, now_s=now_s)
        manifest = verify_manifest(documents.manifest, root, previous=seen, now_s=now_s)
        trusted_authors(manifest)
    except words.MalformedError as malformed:
        raise NotAllowedNowError(f"the root cannot be read: {malformed}") from None
    except SnapshotRefusedError as why:
        raise refused(why) from None
    return root, manifest


def _seen(trust: VendorTrust) -> Seen:
    return Seen(
        root_version=trust.root.version,
        root_hash=words.sha256(trust.root_signed.body),
        manifest_version=trust.manifest.version,
        manifest_hash=words.sha256(trust.manifest_signed.body),
    )


def _columns(documents: VendorDocuments, root: words.Root, manifest: words.Manifest) -> dict[str, object]:
    return {
        "root": words.encode(documents.root),
        "root_version": root.version,
        "manifest": words.encode(documents.manifest),
        "manifest_version": manifest.version,
    }


def _kind(identity: words.ServiceIdentity) -> str:
    return next((tag for tag in (words.BRIDGE_TAG, words.LOGDRIVER_TAG) if tag in identity.tags), "proxy")


async def _keep_wraps(change: Change, documents: VendorDocuments) -> None:
    wraps = schema.segment_wraps
    await change.connection.execute(wraps.delete().where(wraps.c.vendor == change.vendor))
    rows = [{"vendor": change.vendor, **msgspec.structs.asdict(wrap)} for wrap in documents.segment_wraps]
    if rows:
        await change.connection.execute(wraps.insert(), rows)


async def _follow_identities(change: Change, manifest: words.Manifest) -> None:
    """Bring the service accounts in line with what the manifest says of them; it has the last word."""
    accounts = schema.service_accounts
    known = {
        row.id: row
        for row in await change.connection.execute(
            sa.select(accounts.c.id, accounts.c.status).where(accounts.c.vendor == change.vendor)
        )
    }
    for identity in manifest.identities:
        says = {
            "config": identity.config,
            "suite": identity.suite,
            "encryption": identity.encryption,
            "signing": identity.signing,
            "signing_key_id": key_id(identity.signing),
            "fingerprint": fingerprint(identity.encryption + identity.signing),
            "status": identity.status.value,
        }
        row = known.get(identity.id)
        if row is None:
            await change.connection.execute(
                accounts.insert().values(
                    vendor=change.vendor,
                    id=identity.id,
                    kind=_kind(identity),
                    changed_ms=change.now_ms,
                    **says,
                    **change.made,
                )
            )
            await change.record("service-account.add", identity.id, detail={"fingerprint": says["fingerprint"]})
            continue
        mine = sa.and_(accounts.c.vendor == change.vendor, accounts.c.id == identity.id)
        changed = {"changed_ms": change.now_ms} if row.status != identity.status.value else {}
        await change.connection.execute(accounts.update().where(mine).values(**says, **changed))
        if changed:
            await change.record(f"service-account.{identity.status.value}", identity.id)
