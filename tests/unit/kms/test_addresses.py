import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import Code
from tenant_security.kms.addresses import origin
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Provider

PROVIDER = Provider("acme", "Acme KMS")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://kms.example", "https://kms.example"),
        ("https://KMS.example:8443/", "https://kms.example:8443"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://localhost", "http://localhost"),
        ("http://[::1]:5000/", "http://[::1]:5000"),
    ],
)
def test_an_address_becomes_its_scheme_host_and_port(written, read):
    assert origin(PROVIDER, written, "keyPath.address") == read


@pytest.mark.parametrize("path", ["", "/", "/api", "/api/"])
def test_paths_that_are_allowed_are_dropped(path):
    assert origin(PROVIDER, f"https://kms.example{path}", "address", paths=("", "/", "/api", "/api/")) == (
        "https://kms.example"
    )


@pytest.mark.parametrize(
    "written",
    [
        "",
        "kms.example",
        "http://kms.example",
        "http://10.0.0.1",
        "file:///etc/passwd",
        "https://",
        "https://user@kms.example",
        "https://kms.example/path",
        "https://kms.example?",
        "https://kms.example#",
        "https://kms.example:port",
        "https://kms\texample",
        "https://kms.example\r\nX: y",
        "https://kms.example\\@evil.example",
        "https://k\u00e9.example",
        " https://kms.example",
    ],
)
def test_what_is_no_plain_address_is_refused_by_its_members_name(written):
    with pytest.raises(KmsFaultError, match=r"keyPath\.address") as caught:
        origin(PROVIDER, written, "keyPath.address")
    assert caught.value.code is Code.KMS_CONFIGURATION_INVALID


@given(st.text(max_size=40).map(lambda text: "https://" + text))
def test_what_is_read_is_read_again_as_it_is(written):
    try:
        read = origin(PROVIDER, written, "address")
    except KmsFaultError:
        return
    assert origin(PROVIDER, read, "address") == read
    assert read.isascii()
    assert not set(read[8:]) & set("/?#@\\ \r\n\t")
