import base64

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tenant_security.errors import Code
from tenant_security.kms.gcp.private_key import check, read_private_key, sign
from tenant_security.kms.provider import KmsFaultError
from tenant_security.secret import Secret
from tenant_security.testing.fakes.rsa_keys import rsa_key

KEY = rsa_key(0)
PARTS = ("d", "p", "q", "dmp1", "dmq1", "iqmp")


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, form: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


def made_of(**changes: int) -> str:
    """The usual key with some of its numbers replaced, as nobody but an enemy or an accident would write it."""
    numbers = KEY.private_numbers()
    parts = {name: getattr(numbers, name) for name in PARTS} | changes
    public = {"n": numbers.public_numbers.n, "e": numbers.public_numbers.e} | changes
    inner = b"".join(map(der_integer, (0, public["n"], public["e"], *(parts[name] for name in PARTS))))
    encoded = base64.encodebytes(der(0x30, inner)).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{encoded}-----END RSA PRIVATE KEY-----\n"


def der_integer(value: int) -> bytes:
    return der(2, value.to_bytes(value.bit_length() // 8 + 1))


def der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([0x81, size]) if size < 256 else b"\x82" + size.to_bytes(2)
    return bytes([tag]) + length + content


def refused(text: str, read=read_private_key) -> str:
    with pytest.raises(KmsFaultError) as caught:
        read(Secret(text))
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID
    assert "PRIVATE KEY" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_what_it_signs_the_public_key_verifies(form):
    key = read_private_key(Secret(pem(KEY, form)))

    token = sign(key, {"iss": "me", "iat": 1})

    assert jwt.decode(token, KEY.public_key(), algorithms=["RS256"]) == {"iss": "me", "iat": 1}
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT"}


def test_line_ends_may_be_escaped_as_in_googles_key_file():
    assert (
        read_private_key(Secret(pem(KEY).replace("\n", "\\n"))).reveal() == read_private_key(Secret(pem(KEY))).reveal()
    )


def test_a_key_is_kept_in_little_more_than_a_kilobyte():
    assert len(read_private_key(Secret(pem(KEY))).reveal()) < 1300


@pytest.mark.parametrize(
    "text",
    [
        "",
        "myPrivateKey",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(KEY)[:-200],
        pem(KEY).replace("PRIVATE", "PUBLIC"),
        "\u00e9" + pem(KEY),
        pem(KEY) + "x" * 20_000,
    ],
    ids=["empty", "no pem", "no key", "cut off", "public", "not ascii", "huge"],
)
def test_what_is_no_key_is_refused(text):
    assert "credentials.private_key is not" in refused(text)


def test_a_key_of_another_kind_is_refused():
    assert "RSA" in refused(pem(ec.generate_private_key(ec.SECP256R1())))


def test_a_key_with_a_passphrase_is_refused():
    locked = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode()

    assert "passphrase" in refused(locked)


@pytest.mark.parametrize("bits", [1024, 5120])
def test_a_key_too_weak_or_too_slow_is_refused(bits):
    """The long one only looks its part: making an honest one would take long."""
    honest = pem(rsa.generate_private_key(65537, 1024))

    assert "bits" in refused(honest if bits == 1024 else made_of(n=NUMBERS.public_numbers.n << (bits - 2048) | 1))


NUMBERS = KEY.private_numbers()


@pytest.mark.parametrize(
    "changes",
    [
        {"p": NUMBERS.p + 2},
        {"q": NUMBERS.q + 2},
        {"p": NUMBERS.q, "q": NUMBERS.p},
        {"d": NUMBERS.d + 2},
        {"dmp1": NUMBERS.dmp1 + 2},
        {"dmq1": NUMBERS.dmq1 + 2},
        {"iqmp": NUMBERS.iqmp + 1},
        {"iqmp": NUMBERS.iqmp + NUMBERS.p},
        {"n": NUMBERS.public_numbers.n + 2},
        {"e": 3},
        {"e": NUMBERS.public_numbers.e + (NUMBERS.p - 1) * (NUMBERS.q - 1)},
        {"p": 1, "q": NUMBERS.public_numbers.n},
    ],
    ids=["p", "q", "p and q exchanged", "d", "dmp1", "dmq1", "iqmp", "iqmp too large", "n", "e", "huge e", "p is 1"],
)
def test_a_key_whose_numbers_do_not_fit_together_never_reaches_openssl(changes):
    assert "fit together" in refused(made_of(**changes))


def composite() -> str:
    """A key that fits together, and whose p is no prime."""
    p1, p2 = 3, NUMBERS.p
    p = p1 * p2
    q, e = NUMBERS.q, 65537
    d = pow(e, -1, (p - 1) * (q - 1))
    return made_of(p=p, q=q, n=p * q, d=d, dmp1=d % (p - 1), dmq1=d % (q - 1), iqmp=pow(q, -1, p), e=e)


def test_a_key_that_fits_together_and_is_no_key_harms_nobody():
    """It signs something worthless, or says that it cannot; it must do neither crash nor hang."""
    key = read_private_key(Secret(composite()))

    try:
        signed = sign(key, {"iss": "me"}).count(".") == 2
    except KmsFaultError as fault:
        signed = fault.code is Code.KMS_CONFIGURATION_INVALID
    assert signed


def test_whoever_writes_a_config_is_told_of_a_key_that_is_no_key():
    check(Secret(pem(KEY)))

    assert "not a valid private key" in refused(composite(), check)
