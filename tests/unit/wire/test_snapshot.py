import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import ServiceCredentials, credentials_from_env, parse_env, render_env

RECORD = words.TenantRecord(
    vendor="acme",
    tenant="tenant-ä",
    version=3,
    leasing_required=True,
    assignments=(words.RecordAssignment(config=5, active=True, primary=True, leasing=False),),
)


def test_a_document_reads_as_it_was_written() -> None:
    assert words.decode(words.TenantRecord, words.encode(RECORD)) == RECORD


def test_members_have_the_names_that_the_format_says() -> None:
    assert words.encode(RECORD).decode() == (
        '{"vendor":"acme","tenant":"tenant-ä","version":3,"leasingRequired":true,'
        '"assignments":[{"config":5,"active":true,"primary":true,"leasing":false}]}'
    )


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"version": 0}, "version"),
        ({"version": 2**53}, "version"),
        ({"version": "3"}, "version"),
        ({"tenant": ""}, "tenant"),
        ({"tenant": "a\nb"}, "tenant"),
        ({"tenant": "a\n"}, "tenant"),
        ({"tenant": "a" * 256}, "tenant"),
        ({"vendor": "ac me"}, "vendor"),
        ({"leasingRequired": None}, "leasingRequired"),
        ({"notBefore": 5}, "unknown field"),
        ({"assignments": [{"config": 0, "active": True, "primary": True, "leasing": True}]}, "config"),
    ],
)
def test_a_wrong_member_is_refused_and_named(changed: dict[str, object], complaint: str) -> None:
    import json

    text = json.dumps({**json.loads(words.encode(RECORD)), **changed}).encode()
    with pytest.raises(words.MalformedError, match=complaint):
        words.decode(words.TenantRecord, text)


@given(garbage=st.binary(max_size=200))
def test_garbage_is_malformed_and_nothing_else(garbage: bytes) -> None:
    for kind in (words.SnapshotHeader, words.TenantRecord, words.ConfigHeader):
        with pytest.raises(words.MalformedError):
            words.decode(kind, garbage)
    with pytest.raises(words.MalformedError):
        words.decode_line(garbage)
    assert words.tenant_named_in(garbage) is None


def test_deeply_nested_json_is_malformed_too() -> None:
    with pytest.raises(words.MalformedError):
        words.decode_line(b"[" * 100_000)


def test_a_malformed_line_still_has_a_name() -> None:
    assert words.tenant_named_in(b'{"line":"tenant","tenant":"t-1","record":5}') == "t-1"
    assert words.tenant_named_in(b'{"line":"tenant","tenant":"","record":5}') is None


def test_contexts_cannot_be_taken_for_one_another() -> None:
    contexts = {
        words.config_dek_info(1, 12, b"h"),
        words.config_dek_info(11, 2, b"h"),
        words.config_dek_info(1, 12, b"g"),
        words.segment_seed_info("v", 1, 12, "r"),
        words.segment_seed_info("v", 11, 2, "r"),
        words.segment_seed_info("v", 1, 12, "s"),
    }
    assert len(contexts) == 6


CREDENTIALS = ServiceCredentials("proxy-1", 7, 2, Secret(bytes(32)), Secret(b"\x01" * 32), "abcd-efgh")


def test_an_env_file_reads_as_it_was_written() -> None:
    env = parse_env("# ours\n\n" + render_env(CREDENTIALS, Secret("key=with=equals")))
    assert env["API_KEY"] == "key=with=equals"
    read = credentials_from_env(env)
    assert (read.account_id, read.config_id, read.segment_id, read.root_fingerprint) == ("proxy-1", 7, 2, "abcd-efgh")
    assert (read.encryption_seed.reveal(), read.signing_seed.reveal()) == (bytes(32), b"\x01" * 32)


def test_every_problem_of_an_env_is_named_and_no_value_is_shown() -> None:
    env = parse_env(render_env(CREDENTIALS, Secret("k")))
    env.update({"SERVICE_CONFIG_ID": "x7", "SERVICE_SIGNING_PRIVATE_KEY": "c2VjcmV0"})
    del env["SERVICE_ACCOUNT_ID"]
    with pytest.raises(SettingsError) as caught:
        credentials_from_env(env)
    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 3
    assert all(name in text for name in ("SERVICE_CONFIG_ID", "SERVICE_SIGNING_PRIVATE_KEY", "SERVICE_ACCOUNT_ID"))
    assert "c2VjcmV0" not in text
    assert "x7" not in text
