"""From a config whose signature is good to one that can be opened: its wrap is to a segment that we know.

Source: docs/formats-trust.md, "Rules for an entry".
"""

from tenant_security.directory.keyring import Keyring
from tenant_security.directory.sealed_config import SealedConfig
from tenant_security.trust.entries import VerifiedConfig
from tenant_security.trust.refusal import BadEntryError
from tenant_security.wire import snapshot as words


def openable(config: VerifiedConfig, envelope: words.ConfigEnvelope, keyring: Keyring) -> SealedConfig:
    """Find the segment that a verified config is wrapped to.

    Raises: BadEntryError.
    """
    header, wrap = config.header, envelope.wrap
    segment = keyring.find(wrap.segment, wrap.epoch)
    if segment is None:
        raise BadEntryError(
            f"config {header.config} is wrapped to segment {wrap.segment}, epoch {wrap.epoch}, which the manifest lacks"
        )
    if segment.suite != wrap.suite:
        raise BadEntryError(f"config {header.config} is not wrapped in its segment's suite")
    return SealedConfig(
        id=header.config,
        version=header.version,
        fingerprint=config.fingerprint,
        owner=header.tenant,
        author=config.author.key.key_id,
        through=config.author.through,
        kind=header.kind,
        header=envelope.header,
        payload=envelope.payload,
        commit=envelope.commit,
        sealed=wrap.sealed,
        segment=segment,
    )
