"""The segment keys that this process may open configs with."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from tenant_security.crypto.unseal import CannotOpenError, OpeningKey
from tenant_security.wire.snapshot import SuiteNumber, config_dek_info


class SegmentKey(msgspec.Struct, frozen=True, eq=False):
    """One epoch of one segment. ``key`` is None when this process has not been given its seed."""

    segment: int
    epoch: int
    suite: SuiteNumber
    key: OpeningKey | None

    def open_dek(self, header: bytes, sealed: bytes) -> bytes:
        """Unwrap the DEK of the config with this header.

        Raises: CannotOpenError.
        """
        if self.key is None:
            raise CannotOpenError(f"this service was not given the key of segment {self.segment}, epoch {self.epoch}")
        return self.key.open(config_dek_info(self.segment, self.epoch, header), sealed)


class Keyring:
    """Segment keys by segment and epoch. Names every segment that configs may use, also those it cannot open."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[SegmentKey]) -> None:
        self._keys: Final[Mapping[tuple[int, int], SegmentKey]] = {(key.segment, key.epoch): key for key in keys}

    def find(self, segment: int, epoch: int) -> SegmentKey | None:
        """Return the key of this epoch, or None when the manifest does not know it."""
        return self._keys.get((segment, epoch))

    def can_open(self, segment: int) -> bool:
        """Whether any epoch of this segment can be opened."""
        return any(key.key is not None for key in self._keys.values() if key.segment == segment)

    def same_as(self, other: "Keyring") -> bool:
        """Whether both hold the same keys, so that what one opens the other opens too."""
        return self.publics() == other.publics()

    def publics(self) -> dict[tuple[int, int], bytes | None]:
        """Return the public keys by segment and epoch; None stands for one that cannot open."""
        return {at: held.key.public if held.key is not None else None for at, held in self._keys.items()}


EMPTY_KEYRING: Final = Keyring(())
