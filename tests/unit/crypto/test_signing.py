import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.signing import Kind, SigningKey, VerifyingKey, fingerprint, key_id, parse_fingerprint
from tenant_security.secret import Secret

SIGNER = SigningKey(Secret(bytes(range(32))))
VERIFIER = VerifyingKey(SIGNER.public)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_signature_is_good_for_its_kind_of_document_only(kind: Kind) -> None:
    signature = SIGNER.sign(kind, b"body")
    assert [other for other in Kind if VERIFIER.verifies(other, b"body", signature)] == [kind]


@given(body=st.binary(max_size=100), at=st.integers(0, 511))
def test_a_flipped_bit_in_the_signature_is_noticed(body: bytes, at: int) -> None:
    signature = bytearray(SIGNER.sign(Kind.ROOT, body))
    signature[at // 8] ^= 1 << at % 8
    assert not VERIFIER.verifies(Kind.ROOT, body, bytes(signature))


@given(body=st.binary(max_size=100), other=st.binary(max_size=100))
def test_a_signature_is_good_for_its_body_only(body: bytes, other: bytes) -> None:
    assert VERIFIER.verifies(Kind.HEAD, other, SIGNER.sign(Kind.HEAD, body)) == (body == other)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_of_another_length_is_not_good(length: int) -> None:
    assert not VERIFIER.verifies(Kind.ROOT, b"", bytes(length))


def test_another_key_did_not_sign() -> None:
    other = VerifyingKey(SigningKey(Secret(bytes(32))).public)
    assert not other.verifies(Kind.ROOT, b"body", SIGNER.sign(Kind.ROOT, b"body"))


def test_a_key_id_is_the_beginning_of_the_fingerprint() -> None:
    assert fingerprint(SIGNER.public).startswith(SIGNER.key_id + "-")
    assert SIGNER.key_id == VERIFIER.key_id == key_id(SIGNER.public)
    assert len(SIGNER.key_id.split("-")) == 6
    assert len(fingerprint(SIGNER.public).split("-")) == 13


def test_a_fingerprint_may_be_copied_in_any_grouping_and_case() -> None:
    text = fingerprint(SIGNER.public)
    assert parse_fingerprint(f"  {text.upper().replace('-', ' ')}\n") == text
    assert parse_fingerprint(text.replace("-", "")) == text


@pytest.mark.parametrize(
    "text", ["", "abc", fingerprint(bytes(32))[:-1], fingerprint(bytes(32)) + "a", "1" * 52, "é" * 52]
)
def test_what_is_no_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a fingerprint is 52"):
        parse_fingerprint(text)


def test_no_two_texts_stand_for_one_fingerprint() -> None:
    """The last character carries one bit; the others must not be ignored."""
    text = fingerprint(SIGNER.public)
    for last in "bcdefghijklmnopqrstuvwxyz234567":
        if last != text[-1] and last != "q":
            with pytest.raises(ValueError, match="a fingerprint is 52"):
                parse_fingerprint(text[:-1] + last)
