"""A signed request proves who asks what, once and now."""

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.request_tokens import Asking, BadTokenError, check_request, sign_request, signer_of
from tenant_security.crypto.signing import SigningKey, VerifyingKey
from tenant_security.secret import Secret

KEY = SigningKey(Secret(bytes(range(32))))
PUBLIC = VerifyingKey(KEY.public)
ASKING = Asking("POST", "/service/1/secrets?tenant=a%20b", b'{"a":1}')
NOW = 1_800_000_000


def token(asking: Asking = ASKING, key: SigningKey = KEY, now_s: int = NOW) -> str:
    return sign_request(key, asking, now_s=now_s, token_id="once")


@given(st.text("GETPOS", min_size=1), st.text(max_size=50), st.binary(max_size=50))
def test_what_was_signed_is_accepted(method, target, body):
    asking = Asking(method, target, body)
    made = token(asking)
    assert signer_of(made) == KEY.key_id
    assert check_request(made, PUBLIC, asking, now_s=NOW) == "once"


@pytest.mark.parametrize(
    "change",
    [{"method": "PUT"}, {"target": "/service/1/secrets"}, {"target": "/service/1/secrets?tenant=b"}, {"body": b""}],
)
def test_it_is_good_for_this_request_only(change):
    with pytest.raises(BadTokenError, match="another request"):
        check_request(token(), PUBLIC, ASKING._replace(**change), now_s=NOW)


@pytest.mark.parametrize("shift", [-31, 91, 1000])
def test_it_is_good_for_a_minute(shift):
    assert check_request(token(), PUBLIC, ASKING, now_s=NOW + 60)
    with pytest.raises(BadTokenError, match="not good now"):
        check_request(token(), PUBLIC, ASKING, now_s=NOW + shift)


def test_nobody_makes_one_that_lasts_longer():
    claims = {"iat": NOW, "exp": NOW + 3600, "jti": "x", **ASKING.claims}
    with pytest.raises(BadTokenError, match="not good now"):
        check_request(KEY.sign_token(claims, "ts-request"), PUBLIC, ASKING, now_s=NOW)


def test_another_key_proves_nothing():
    other = SigningKey(Secret(bytes(32)))
    with pytest.raises(BadTokenError, match="signature"):
        check_request(token(key=other), PUBLIC, ASKING, now_s=NOW)


@pytest.mark.parametrize("missing", ["iat", "exp", "jti", "htm", "htu", "bsh"])
def test_every_claim_is_needed(missing):
    claims = {"iat": NOW, "exp": NOW + 60, "jti": "x", **ASKING.claims}
    del claims[missing]
    with pytest.raises(BadTokenError):
        check_request(KEY.sign_token(claims, "ts-request"), PUBLIC, ASKING, now_s=NOW)


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "x",
        "a.b.c",
        "é" * 10,
        "x" * 5000,
        jwt.encode({"a": 1}, "x" * 32, algorithm="HS256"),
        jwt.encode({"a": 1}, None, algorithm="none", headers={"kid": KEY.key_id, "typ": "ts-request"}),
        KEY.sign_token({"a": 1}, "JWT"),
    ],
)
def test_what_is_no_such_token_is_told_apart(bad):
    with pytest.raises(BadTokenError):
        signer_of(bad)


def test_no_algorithm_but_ours_is_believed():
    """The public key is no secret: a token that was made with it as one must prove nothing."""
    claims = {"iat": NOW, "exp": NOW + 60, "jti": "x", **ASKING.claims}
    forged = jwt.encode(claims, KEY.public, algorithm="HS256", headers={"kid": KEY.key_id, "typ": "ts-request"})
    with pytest.raises(BadTokenError, match="signature"):
        check_request(forged, PUBLIC, ASKING, now_s=NOW)


def test_a_failure_shows_nothing_of_the_token():
    with pytest.raises(BadTokenError) as caught:
        check_request(token(), PUBLIC, ASKING._replace(body=b"x"), now_s=NOW)
    assert token()[:20] not in str(caught.value)
