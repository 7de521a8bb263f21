"""Many documents in few requests, one outcome each: a fault of one leaves the others alone."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from tenant_security.client.document_keys import DocumentFormat, DocumentKey, known_key, new_key, read_edek
from tenant_security.client.documents import (
    LONG_WORK_BYTES,
    Attached,
    BatchResult,
    Documents,
    EncryptedDocument,
    at_length,
    open_attached,
    read_attached,
)
from tenant_security.client.errors import ClientError
from tenant_security.client.keys import Keys, UnwrappedKey
from tenant_security.client.metadata import Metadata
from tenant_security.crypto.documents import DocumentCipher
from tenant_security.outbound.flow import Flow, together

T = TypeVar("T")
K = TypeVar("K")

KEYS_PER_REQUEST: Final = 1_000
"""How many keys one request asks for."""
REQUESTS_AT_ONCE: Final = 4
REKEYS_AT_ONCE: Final = 16
_GROUPS: Final = max(2, os.cpu_count() or 2)

Fields = Mapping[str, bytes]


class Batches:
    """Flows over batches."""

    def __init__(self, keys: Keys, documents: Documents, written: DocumentFormat) -> None:
        self._keys = keys
        self._documents = documents
        self._written = written

    def encrypt(
        self, documents: Mapping[str, Fields], metadata: Metadata, edeks: Mapping[str, str] | None = None
    ) -> Flow[BatchResult[EncryptedDocument]]:
        """Encrypt every document under a key of its own; those with an EDEK in ``edeks`` under that one's key."""
        kept = {each: edek for each, edek in (edeks or {}).items() if each in documents}
        fresh = yield from self._wrapped([each for each in documents if each not in kept], metadata)
        keys = fresh | (yield from self._unwrapped(kept, metadata))

        def encrypt(each: str) -> EncryptedDocument:
            key = _or_raise(keys[each])
            try:
                return EncryptedDocument(key.encrypt(documents[each], metadata.tenant_id), key.edek)
            finally:
                key.close()

        return (yield from _all(encrypt, {each: _size(fields) for each, fields in documents.items()}))

    def decrypt(
        self, documents: Mapping[str, EncryptedDocument], metadata: Metadata
    ) -> Flow[BatchResult[dict[str, bytes]]]:
        """Decrypt every document."""
        edeks = {each: document.edek for each, document in documents.items()}
        keys = yield from self._unwrapped(edeks, metadata)

        def decrypt(each: str) -> dict[str, bytes]:
            key = _or_raise(keys[each])
            try:
                return key.decrypt(documents[each].fields)
            finally:
                key.close()

        return (yield from _all(decrypt, {each: _size(document.fields) for each, document in documents.items()}))

    def decrypt_attached(self, values: Mapping[str, bytes], metadata: Metadata) -> Flow[BatchResult[bytes]]:
        """Decrypt many self-contained values, such as those of one query."""
        read = {each: _tried(read_attached, value) for each, value in values.items()}
        good = {each: found for each, found in read.items() if isinstance(found, Attached)}
        asked = yield from self._unwrap({each: found.edek for each, found in good.items()}, metadata)

        def decrypt(each: str) -> bytes:
            found = _or_raise(read[each])
            cipher = DocumentCipher(_or_raise(asked[each]).dek)
            try:
                return open_attached(cipher, values[each], found)
            finally:
                cipher.wipe()

        return (yield from _all(decrypt, {each: len(value) for each, value in values.items()}))

    def rekey(
        self, edeks: Mapping[str, str], new_tenant_id: str, metadata: Metadata, at_once: int = REKEYS_AT_ONCE
    ) -> Flow[BatchResult[str]]:
        """Rekey every EDEK; the proxy takes one at a time, so several requests run side by side."""
        flows = [self._documents.rekey(edek, new_tenant_id, metadata) for edek in edeks.values()]
        outcomes = yield from together(flows, at_once)
        return _result(dict(zip(edeks, outcomes, strict=True)))

    def _wrapped(self, ids: Sequence[str], metadata: Metadata) -> Flow[dict[str, DocumentKey | ClientError]]:
        parts = _parts(ids)
        told = yield from _told([self._keys.batch_wrap(part, metadata) for part in parts], parts)

        def begun(each: str) -> DocumentKey:
            key = _or_raise(told[each])
            return new_key(key.dek, key.edek, metadata.tenant_id, self._written)

        return {each: _tried(begun, each) for each in ids}

    def _unwrapped(self, edeks: Mapping[str, str], metadata: Metadata) -> Flow[dict[str, DocumentKey | ClientError]]:
        stored = {each: read_edek(edek) for each, edek in edeks.items()}
        told = yield from self._unwrap({each: edek.for_proxy for each, edek in stored.items()}, metadata)
        return {each: _tried(lambda each: known_key(_or_raise(told[each]).dek, stored[each]), each) for each in edeks}

    def _unwrap(self, edeks: Mapping[str, str], metadata: Metadata) -> Flow[dict[str, UnwrappedKey | ClientError]]:
        parts = _parts(list(edeks))
        flows = [self._keys.batch_unwrap({each: edeks[each] for each in part}, metadata) for part in parts]
        return (yield from _told(flows, parts))


def _told(
    flows: Sequence[Flow[dict[str, T | ClientError]]], parts: Sequence[Sequence[str]]
) -> Flow[dict[str, T | ClientError]]:
    """Ask for all parts side by side. Raises: ClientError when none of the requests was answered."""
    outcomes = yield from together(flows, REQUESTS_AT_ONCE)
    faults = [each for each in outcomes if isinstance(each, Exception)]
    if faults and len(faults) == len(outcomes):
        raise faults[0]
    told: dict[str, T | ClientError] = {}
    for part, outcome in zip(parts, outcomes, strict=True):
        if isinstance(outcome, ClientError):
            told |= dict.fromkeys(part, outcome)
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            told |= outcome
    return told


def _all(work: Callable[[str], T], sizes: Mapping[str, int]) -> Flow[BatchResult[T]]:
    """Do the work for every id; when it is long, in as many groups as there are processors."""
    total = sum(sizes.values())
    if total < LONG_WORK_BYTES:
        return _result({each: _tried(work, each) for each in sizes})
    groups = _even(sizes, _GROUPS)

    def done(ids: Sequence[str]) -> Callable[[], dict[str, T | ClientError]]:
        return lambda: {each: _tried(work, each) for each in ids}

    outcomes = yield from together([at_length(total, done(group)) for group in groups], len(groups))
    gathered: dict[str, T | ClientError] = {}
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        gathered |= outcome
    return _result({each: gathered[each] for each in sizes})


def _even(sizes: Mapping[str, int], count: int) -> list[list[str]]:
    """Divide ids into at most ``count`` groups of about the same size."""
    groups: list[list[str]] = [[] for _ in range(min(count, len(sizes)))]
    filled = [0] * len(groups)
    for each in sorted(sizes, key=lambda each: sizes[each], reverse=True):
        least = filled.index(min(filled))
        groups[least].append(each)
        filled[least] += sizes[each]
    return groups


def _result(outcomes: Mapping[str, T | Exception]) -> BatchResult[T]:
    successes: dict[str, T] = {}
    failures: dict[str, ClientError] = {}
    for each, outcome in outcomes.items():
        if isinstance(outcome, ClientError):
            failures[each] = outcome
        elif isinstance(outcome, Exception):
            raise outcome
        else:
            successes[each] = outcome
    return BatchResult(successes, failures)


def _tried(work: Callable[[K], T], given: K) -> T | ClientError:
    try:
        return work(given)
    except ClientError as fault:
        return fault


def _or_raise(outcome: T | ClientError) -> T:
    if isinstance(outcome, ClientError):
        raise outcome
    return outcome


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[at : at + KEYS_PER_REQUEST] for at in range(0, len(ids), KEYS_PER_REQUEST)]


def _size(fields: Fields) -> int:
    return sum(map(len, fields.values()))
