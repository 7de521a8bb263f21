"""Configs of the vendor: sealed here to every segment, opened here to be changed, and never shown with credentials.

Trust: what the broker hands out is believed only when an author of the manifest signed it as a config of the vendor.
"""

import msgspec

from tenant_security.authoring import documents
from tenant_security.authoring.versions import next_version
from tenant_security.bridge.records import NotPossibleError
from tenant_security.bridge.vendor_keys import VendorKeys
from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import CannotOpenError, open_payload
from tenant_security.errors import TenantSecurityError
from tenant_security.trust.entries import verify_config
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import bridge_api as api
from tenant_security.wire import snapshot as words
from tenant_security.wire.broker_api import SealedConfig
from tenant_security.wire.kms_configs import decode_kms_config


class _Kind(msgspec.Struct):
    type: str
    version: int


def seal(
    keys: VendorKeys,
    author: SigningKey,
    number: int,
    config_json: bytes,
    *,
    leasing_allowed: bool,
    now_s: int,
    after: int = 0,
) -> SealedConfig:
    """Seal a config of the vendor after the last version ``after``.

    Raises: NotPossibleError when it is not a config that proxies can read.
    """
    kind = _checked(config_json)
    header = words.ConfigHeader(
        vendor=keys.vendor,
        tenant=words.SHARED,
        config=number,
        kind="kms",
        version=next_version(after, now_s),
        created=now_s,
    )
    envelope, wraps = documents.seal_for_all(header, config_json, keys.segments(), author)
    return SealedConfig(
        header=envelope.header,
        payload=envelope.payload,
        commit=envelope.commit,
        author=envelope.author,
        sig=envelope.sig,
        wraps=wraps,
        type=kind.type,
        leasing_allowed=leasing_allowed,
    )


def open_sealed(keys: VendorKeys, sealed: SealedConfig) -> bytes:
    """Open a config of the vendor. The result is secret.

    Raises: NotPossibleError when it is not sealed to bridges, or not signed as it must be.
    """
    reasons = ["it is sealed to proxies only"]
    for wrap in sealed.wraps:
        key = keys.keyring.find(wrap.segment, wrap.epoch)
        if key is None or key.key is None:
            continue
        try:
            verify_config(sealed.envelope(wrap), words.SHARED, keys.vendor, keys.authors)
            return open_payload(key.open_dek(sealed.header, wrap.sealed), sealed.header, sealed.payload, sealed.commit)
        except (BadEntryError, CannotOpenError) as refused:
            reasons.append(str(refused))
    raise NotPossibleError(
        f"this bridge cannot open the config: {reasons[-1]}; seal it again with the command line, or make a new one"
    )


def without_credentials(config_json: bytes) -> msgspec.Raw:
    """Leave out what is secret."""
    members = msgspec.json.decode(config_json, type=dict[str, msgspec.Raw])
    members.pop("credentials", None)
    return msgspec.Raw(msgspec.json.encode(members))


def with_credentials(config_json: bytes, update: bytes) -> bytes:
    """Put new credentials into a config. Type and version must be the same; the key path stays.

    Raises: NotPossibleError.
    """
    try:
        new = msgspec.json.decode(update, type=api.UpdatedCredentials)
    except msgspec.DecodeError as malformed:
        raise NotPossibleError(f"the config's update cannot be read: {malformed}") from None
    old = msgspec.json.decode(config_json, type=_Kind)
    if (new.type, new.version) != (old.type, old.version):
        raise NotPossibleError(
            f"the config is of type {old.type}, version {old.version}, and stays that; make a new config instead"
        )
    members = msgspec.json.decode(config_json, type=dict[str, msgspec.Raw])
    members["credentials"] = new.credentials
    return msgspec.json.encode(members)


def _checked(config_json: bytes) -> _Kind:
    try:
        decode_kms_config(config_json)
    except TenantSecurityError as wrong:
        raise NotPossibleError(wrong.message) from None
    kind = msgspec.json.decode(config_json, type=_Kind)
    if kind.version != 1:
        raise NotPossibleError("version must be 1: it is the only form of a config that there is")
    return kind
