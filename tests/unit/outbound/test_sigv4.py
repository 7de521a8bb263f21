import logging
from datetime import UTC, datetime, timedelta, timezone

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.outbound.flow import Request
from tenant_security.outbound.sigv4 import sign
from tenant_security.secret import Secret

NOW = datetime(2026, 11, 24, 3, 4, 5, 678, tzinfo=UTC)
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def ours(request: Request, *, token: str | None = None, service: str = "kms", now: datetime = NOW) -> Request:
    return sign(
        request,
        access_key_id="AKIDEXAMPLE",
        secret_access_key=Secret(SECRET),
        session_token=None if token is None else Secret(token),
        service=service,
        region="us-east-1",
        now=now,
    )


def theirs(request: Request, token: str | None) -> dict[str, str]:
    """Botocore used as botocore uses it, with its clock stopped at ours."""
    plain = AWSRequest(request.method, request.url, dict(request.headers), request.body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda: NOW.replace(tzinfo=None))
        botocore.auth.SigV4Auth(Credentials("AKIDEXAMPLE", SECRET, token), "kms", "us-east-1").add_auth(plain)
    return {name.lower(): value for name, value in plain.headers.items()}


words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
names = st.from_regex(r"X-[A-Z][a-z]{1,8}", fullmatch=True).filter(lambda name: name != "X-Amz")
paths = st.from_regex(r"/([a-z0-9~._-]{1,5}(/|%20)){0,3}(\?[a-z]{1,3}=[a-z0-9%]{0,3}(&b=c)?)?", fullmatch=True)


@given(
    method=st.sampled_from(["GET", "POST"]),
    host=st.sampled_from(["https://kms.us-east-1.amazonaws.com", "http://127.0.0.1:5000", "https://host:8443"]),
    path=paths,
    headers=st.dictionaries(names, words, max_size=3),
    body=st.binary(max_size=200),
    token=st.none() | words,
)
def test_every_request_is_signed_as_botocore_signs_it(*, method, host, path, headers, body, token):
    request = Request(method, host + path, tuple(headers.items()), body)

    signed = ours(request, token=token)

    assert {name.lower(): value for name, value in signed.headers} == theirs(request, token)
    assert (signed.method, signed.url, signed.body) == (request.method, request.url, request.body)


def test_the_vector_that_aws_published():
    """The case ``get-vanilla`` of AWS's signature test suite."""
    signed = ours(
        Request("GET", "https://example.amazonaws.com/"),
        service="service",
        now=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
    )

    assert dict(signed.headers) == {
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    }


def test_the_time_is_that_of_the_argument_in_utc():
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-9)))

    signed = ours(Request("GET", "https://h/"), now=elsewhere)

    assert dict(signed.headers)["X-Amz-Date"] == "20261124T030405Z"


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        ours(Request("GET", "https://h/"), now=datetime(2026, 1, 1))  # noqa: DTZ001


def test_the_cap_of_the_answer_is_kept():
    assert ours(Request("GET", "https://h/", cap_bytes=7)).cap_bytes == 7


def test_nothing_is_logged(caplog):
    caplog.set_level(logging.DEBUG)

    ours(Request("POST", "https://h/", body=b"secret body"), token="secret token")

    assert caplog.records == []
