import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_security.crypto.seal import SealingKey, Suite, commitment, seal_payload
from tenant_security.crypto.unseal import CannotOpenError, OpeningKey, new_seed, open_payload
from tenant_security.secret import Secret

SEED = Secret(bytes(range(32)))
OVERHEAD = {Suite.XWING: 1136, Suite.P256: 81}
KEYS = {suite: OpeningKey(suite, SEED) for suite in Suite}

every_suite = pytest.mark.parametrize("suite", list(Suite))


@every_suite
def test_what_was_sealed_opens_with_the_same_context(suite: Suite) -> None:
    sealed = KEYS[suite].sealing_key.seal(b"here", b"secret")
    assert len(sealed) == len(b"secret") + OVERHEAD[suite]
    assert KEYS[suite].open(b"here", sealed) == b"secret"


@every_suite
def test_another_context_does_not_open(suite: Suite) -> None:
    sealed = KEYS[suite].sealing_key.seal(b"here", b"secret")
    with pytest.raises(CannotOpenError):
        KEYS[suite].open(b"there", sealed)


@every_suite
def test_another_key_does_not_open(suite: Suite) -> None:
    sealed = SealingKey(suite, OpeningKey(suite, new_seed()).public).seal(b"", b"secret")
    with pytest.raises(CannotOpenError):
        KEYS[suite].open(b"", sealed)


@every_suite
def test_a_key_pair_follows_from_its_seed_alone(suite: Suite) -> None:
    assert OpeningKey(suite, Secret(SEED.reveal())).public == KEYS[suite].public
    assert OpeningKey(suite, Secret(bytes(32))).public != KEYS[suite].public


@every_suite
@pytest.mark.parametrize("length", [0, 31, 33, 96])
def test_a_seed_of_another_length_is_refused(suite: Suite, length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        OpeningKey(suite, Secret(bytes(length)))


@every_suite
@pytest.mark.parametrize("public", [b"", bytes(65), b"\xff" * 1216, bytes(1217), b"\x04" + b"\x01" * 64])
def test_what_is_no_public_key_is_refused(suite: Suite, public: bytes) -> None:
    with pytest.raises(ValueError, match="public key of suite"):
        SealingKey(suite, public)


@every_suite
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_anywhere_does_not_open(suite: Suite, data: st.DataObject) -> None:
    sealed = bytearray(KEYS[suite].sealing_key.seal(b"here", b"secret"))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(CannotOpenError):
        KEYS[suite].open(b"here", bytes(sealed))


@every_suite
@settings(max_examples=40, deadline=None)
@given(garbage=st.binary(max_size=1300))
def test_garbage_does_not_open(suite: Suite, garbage: bytes) -> None:
    with pytest.raises(CannotOpenError):
        KEYS[suite].open(b"here", garbage)


def test_dhkem_p256_derives_the_key_pair_of_the_standard() -> None:
    # RFC 9180, appendix A.3.1: ikmE and pkEm of DHKEM(P-256, HKDF-SHA256).
    ikm = bytes.fromhex("4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e")
    public = (
        "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be"
        "863c403ce65c9bfcb9382657222d18c4"
    )
    assert OpeningKey(Suite.P256, Secret(ikm)).public.hex() == public


def test_a_payload_opens_with_its_key_header_and_commitment() -> None:
    dek, payload, commit = seal_payload(b"header", b"secret")
    assert open_payload(dek, b"header", payload, commit) == b"secret"


def test_every_payload_has_its_own_key_and_nonce() -> None:
    first, second = seal_payload(b"", b"secret"), seal_payload(b"", b"secret")
    assert first.dek != second.dek
    assert first.payload[:12] != second.payload[:12]


@pytest.mark.parametrize("part", ["dek", "header", "payload", "commit"])
def test_a_payload_with_a_changed_part_does_not_open(part: str) -> None:
    dek, payload, commit = seal_payload(b"header", b"secret")
    parts = {"dek": dek, "header": b"header", "payload": payload, "commit": commit}
    for at in range(len(parts[part])):
        changed = bytearray(parts[part])
        changed[at] ^= 0x80
        with pytest.raises(CannotOpenError):
            open_payload(**{**parts, part: bytes(changed)})


@pytest.mark.parametrize("length", [0, 11, 27])
def test_a_payload_that_is_cut_short_does_not_open(length: int) -> None:
    dek, payload, commit = seal_payload(b"", b"")
    with pytest.raises(CannotOpenError, match="cut short"):
        open_payload(dek, b"", payload[:length], commit)


def test_a_key_that_was_not_committed_to_is_refused_even_when_the_ciphertext_would_open() -> None:
    """AES-GCM lets an attacker make one ciphertext that opens under two keys; the commitment allows only one."""
    first = seal_payload(b"header", b"for the auditor")
    second = seal_payload(b"header", b"for the proxy")
    assert open_payload(second.dek, b"header", second.payload, second.commit) == b"for the proxy"
    with pytest.raises(CannotOpenError, match="committed"):
        open_payload(second.dek, b"header", second.payload, first.commit)


def test_a_commitment_says_which_key_and_nothing_else() -> None:
    assert commitment(bytes(32)) == commitment(bytes(32)) != commitment(b"\x01" * 32)
    assert commitment(bytes(32)) != bytes(32)


def test_xwing_derives_the_key_pair_of_its_draft() -> None:
    # draft-connolly-cfrg-xwing-kem, first test vector: seed, and the SHA-256 of pk.
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = OpeningKey(Suite.XWING, Secret(seed)).public
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919")
    assert public.hex().endswith("d049040ef6534")
    assert hashlib.sha256(public).hexdigest() == "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
