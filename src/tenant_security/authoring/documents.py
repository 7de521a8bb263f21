"""Signs and seals one document at a time. Knows nothing of files or versions.

Source: docs/formats-trust.md.
"""

from collections.abc import Iterable

from tenant_security.crypto.seal import SealingKey, Suite, seal_payload
from tenant_security.crypto.signing import Kind, SigningKey, key_id
from tenant_security.crypto.unseal import OpeningKey, open_payload
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words


def sign(
    kind: Kind,
    document: words.Root | words.Manifest | words.Head | words.TenantRecord | words.TenantAuthors,
    key: SigningKey,
) -> words.Signed:
    """Write a document and sign exactly those bytes."""
    body = words.encode(document)
    return words.Signed(body=body, key=key.key_id, sig=key.sign(kind, body))


def seal_config(
    header: words.ConfigHeader, config_json: bytes, segment: words.Segment, author: SigningKey
) -> words.ConfigEnvelope:
    """Seal a config to a segment and sign it."""
    return seal_for_all(header, config_json, (segment,), author)[0]


def wrap_dek(dek: bytes, header: bytes, segment: words.Segment) -> words.Wrap:
    """Seal a config's DEK to a segment. The signature does not cover this, so it can be done again for a new epoch."""
    info = words.config_dek_info(segment.id, segment.epoch, header)
    sealed = SealingKey(Suite(segment.suite), segment.public).seal(info, dek)
    return words.Wrap(segment=segment.id, epoch=segment.epoch, suite=segment.suite, sealed=sealed)


def seal_for_all(
    header: words.ConfigHeader, config_json: bytes, segments: Iterable[words.Segment], author: SigningKey
) -> tuple[words.ConfigEnvelope, tuple[words.Wrap, ...]]:
    """Seal a config once, wrap it to several segments and sign it. The envelope holds the first of the wraps."""
    header_bytes = words.encode(header)
    dek, payload, commit = seal_payload(header_bytes, config_json)
    wraps = tuple(wrap_dek(dek, header_bytes, segment) for segment in segments)
    signature = author.sign(Kind.CONFIG, words.config_signed_bytes(header_bytes, payload, commit))
    envelope = words.ConfigEnvelope(
        header=header_bytes, payload=payload, commit=commit, author=author.key_id, sig=signature, wrap=wraps[0]
    )
    return envelope, wraps


def open_dek(envelope: words.ConfigEnvelope, key: OpeningKey) -> bytes:
    """Unwrap a config's DEK. The result is secret.

    Raises: CannotOpenError.
    """
    wrap = envelope.wrap
    return key.open(words.config_dek_info(wrap.segment, wrap.epoch, envelope.header), wrap.sealed)


def open_config(envelope: words.ConfigEnvelope, key: OpeningKey) -> bytes:
    """Open a config. The result is secret.

    Raises: CannotOpenError.
    """
    return open_payload(open_dek(envelope, key), envelope.header, envelope.payload, envelope.commit)


def wrap_seed(vendor: str, segment: words.Segment, seed: Secret[bytes], recipient: SealingKey) -> words.SegmentWrap:
    """Seal a segment's seed to one recipient."""
    name = key_id(recipient.public)
    info = words.segment_seed_info(vendor, segment.id, segment.epoch, name)
    return words.SegmentWrap(
        segment=segment.id,
        epoch=segment.epoch,
        recipient=name,
        suite=recipient.suite.value,
        sealed=recipient.seal(info, seed.reveal()),
    )
