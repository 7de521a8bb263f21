"""What is said to the broker about signed documents, by whoever signs them and by whoever reads them.

Source: docs/broker/api.md.
"""

from typing import Annotated

import msgspec

from tenant_security.wire.snapshot import ConfigEnvelope, ConfigId, Name, SegmentWrap, Signed, Wrap

ConfigType = Annotated[str, msgspec.Meta(pattern=r"\A[A-Z][A-Z0-9_-]{0,31}\Z")]
Title = Annotated[str, msgspec.Meta(max_length=120, pattern=r"\A[^\x00-\x1f\x7f]*\Z")]


class _Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What all of these have in common."""


class VendorDocuments(_Said, frozen=True):
    """A vendor's keys: who may sign, and the segments' seeds as sealed to each recipient."""

    root: Signed
    manifest: Signed
    segment_wraps: tuple[SegmentWrap, ...]


class SealedConfig(_Said, frozen=True):
    """A config as it was sealed and signed, wrapped to one segment or several.

    ``type`` is the kind of KMS or SIEM in capitals and ``name`` what people call the config: both are said beside the
    seal, for lists, and nobody signs them.
    """

    header: bytes
    payload: bytes
    commit: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    author: str
    sig: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]
    wraps: Annotated[tuple[Wrap, ...], msgspec.Meta(min_length=1, max_length=64)]
    type: ConfigType
    name: Title = ""
    leasing_allowed: bool = False

    def envelope(self, wrap: Wrap) -> ConfigEnvelope:
        """Return the config as it travels to those who can open this wrap."""
        return ConfigEnvelope(self.header, self.payload, self.commit, self.author, self.sig, wrap)


class TenantChange(_Said, frozen=True):
    """A new version of what one tenant is.

    ``base_version`` is the version of the record that this change was made from, 0 for none: where another was stored
    in the meantime, the change is refused and nothing of it happens. ``configs`` are new ones and new versions;
    ``removed`` are numbers of configs that the record no longer assigns.
    """

    record: Signed
    base_version: int
    authors: Signed | None = None
    configs: tuple[SealedConfig, ...] = ()
    removed: tuple[ConfigId, ...] = ()


class TenantDocuments(_Said, frozen=True):
    """What is stored of a tenant, for whoever makes the next version."""

    tenant: str
    record_version: int
    record: Signed | None
    authors: Signed | None
    configs: tuple[SealedConfig, ...]
    tags: tuple[Name, ...]
