"""Wrap, unwrap and rekey without a client: the bytes of EDEKs, what is refused, and which fault is told first."""

import base64
import os
from collections.abc import Mapping

import httpx
import pytest

from tenant_security.wire import edek, protobuf

from .prepared import AZURE_CONFIG, COMBO, COMBO_ACTIVE, COMBO_DISABLED, GCP, GCP_CONFIG, Mint, Prepared, noise
from .raw_http import ENDPOINTS, JUNK, UNKNOWN, body, full_request, post, refusal, success

# Wrap and unwrap.

UNLEASED = [("tenant-gcp", 510), ("tenant-aws", 512), (GCP, 534), ("INTEGRATION-TEST-AZURE", 543)]


@pytest.mark.parametrize(("tenant", "config_id"), UNLEASED)
def test_an_unleased_edek_is_what_the_kms_made(http: httpx.Client, mint: Mint, tenant: str, config_id: int) -> None:
    made = success(post(http, "document/wrap", body(tenant)))
    assert made.keys() == {"dek", "edek"}
    entry = edek.decode_base64(made["edek"])
    assert (entry.config_id, entry.leased) == (config_id, False)
    assert edek.encode_base64(entry) == made["edek"]
    assert len(base64.b64decode(made["edek"])) == 120
    dek = base64.b64decode(made["dek"], validate=True)
    assert len(dek) == 32
    assert mint.open(made["edek"]) == dek
    assert success(post(http, "document/unwrap", body(tenant, encryptedDocumentKey=made["edek"]))) == {
        "dek": made["dek"]
    }


def test_leased_edeks_hold_the_wrapped_lease_and_survive_the_proxy(http: httpx.Client, mint: Mint) -> None:
    made = [success(post(http, "document/wrap", body("tenant-gcp-l"))) for _ in range(5)]
    entries = [edek.decode_base64(each["edek"]) for each in made]
    assert {(entry.config_id, len(entry.data), len(entry.lease_iv)) for entry in entries} == {(511, 48, 12)}
    assert len({entry.lease_iv for entry in entries}) == 5
    (lease,) = {(entry.lease_id, entry.wrapped_lease) for entry in entries}
    assert 128 <= lease[0] <= 16_383
    inner = edek.decode(lease[1])
    assert (inner.config_id, inner.leased) == (511, False)
    for each in made:
        assert len(base64.b64decode(each["edek"])) == 195
        assert mint.open(each["edek"]) == base64.b64decode(each["dek"])


def test_every_wrap_makes_a_new_key(http: httpx.Client) -> None:
    for tenant in ("tenant-gcp", "tenant-gcp-l"):
        made = [success(post(http, "document/wrap", body(tenant))) for _ in range(20)]
        assert len({each["dek"] for each in made}) == 20
        assert len({each["edek"] for each in made}) == 20


@pytest.mark.parametrize("name", ["active", "unversioned", "unleased", "leased"])
def test_data_of_the_past_unwraps(http: httpx.Client, prepared: Mapping[str, Prepared], name: str) -> None:
    specimen = prepared[name]
    answer = success(post(http, "document/unwrap", body(specimen.tenant, encryptedDocumentKey=specimen.edek)))
    assert base64.b64decode(answer["dek"]) == specimen.dek


def test_of_several_entries_the_first_that_opens_counts_and_unknown_fields_are_skipped(
    http: httpx.Client, mint: Mint
) -> None:
    first = base64.b64decode(mint.unleased_edek(GCP_CONFIG, b"1" * 32))
    last = base64.b64decode(mint.unleased_edek(GCP_CONFIG, b"2" * 32))
    ((_, entry),) = protobuf.fields(first)
    assert isinstance(entry, bytes)
    extended = entry + protobuf.delimited(6, b"some tenant") + protobuf.integer(9, 300) + bytes([0x51]) + bytes(8)
    message = protobuf.delimited(1, extended) + last + protobuf.delimited(15, b"x") + bytes([0x65, 1, 2, 3, 4])
    answer = success(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=edek.to_base64(message))))
    assert base64.b64decode(answer["dek"]) == b"1" * 32


# What is no EDEK.

VALID_ENTRY = protobuf.delimited(1, b"blob") + protobuf.integer(2, GCP_CONFIG)
NO_EDEKS: dict[str, bytes] = {
    "a cut-off fixed32": b"edek",
    "a sentence": b"what a waste of time\n",
    "a word": b"randomBytes",
    "a cut-off varint": bytes([0x0A, 0xFF]),
    "a varint of eleven bytes": bytes([0x10]) + b"\xff" * 10 + b"\x01",
    "a length beyond the end": bytes([0x0A, 0x7F, 1]),
    "field number 0": protobuf.delimited(1, VALID_ENTRY) + bytes([0x02, 1, 0]),
    "a group": bytes([0x0B, 0x0C]),
    "wire type 6": protobuf.delimited(1, VALID_ENTRY) + bytes([0x0E, 0]),
    "wire type 7": protobuf.delimited(1, VALID_ENTRY) + bytes([0x0F, 0]),
    "a cut-off fixed64": protobuf.delimited(1, VALID_ENTRY) + bytes([0x79, 1, 2, 3]),
    "an entry that is a number": protobuf.integer(1, 7),
    "an entry that is cut off": protobuf.delimited(1, VALID_ENTRY[:-1]),
    "an entry without data": protobuf.delimited(1, protobuf.integer(2, GCP_CONFIG)),
    "an entry with a group inside": protobuf.delimited(1, VALID_ENTRY + bytes([0x7B, 0x7C])),
}
NO_BASE64 = ["%%%", "Y", "YQ", "CnYK-_8=", "CnYK CnYK", "CnYK\nCnYK", "CnYKé"]


@pytest.mark.parametrize("name", NO_EDEKS)
def test_what_is_no_edek_is_203(http: httpx.Client, name: str) -> None:
    text = base64.b64encode(NO_EDEKS[name]).decode()
    message = refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=text)), 203)
    assert "Provided EDEK didn't contain IronCore EDEKs" in message
    refusal(post(http, "document/rekey", body(GCP, encryptedDocumentKey=text, newTenantId=GCP)), 203)
    batch = success(post(http, "document/batch-unwrap", body(GCP, edeks={"x": text})))
    assert batch["keys"] == {}
    assert batch["failures"]["x"]["code"] == 203
    assert "Provided EDEK didn't contain IronCore EDEKs" in batch["failures"]["x"]["message"]


@pytest.mark.parametrize("text", NO_BASE64)
def test_what_is_no_base64_is_203(http: httpx.Client, text: str) -> None:
    refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=text)), 203)


def test_an_edek_without_entries_is_203(http: httpx.Client) -> None:
    for empty in (b"", protobuf.delimited(9, b"something else")):
        text = base64.b64encode(empty).decode()
        message = refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=text)), 203)
        assert "No encrypted DEKs were provided" in message


def test_an_incomplete_lease_is_203(http: httpx.Client, mint: Mint) -> None:
    whole = edek.decode_base64(mint.leased_edek(GCP_CONFIG, bytes(32), 700))
    data, iv, lease = whole.data, whole.lease_iv, whole.wrapped_lease
    incomplete = [
        edek.EncryptedDek(data, GCP_CONFIG, 700, iv[:11], lease),
        edek.EncryptedDek(data, GCP_CONFIG, 700, iv + b"x", lease),
        edek.EncryptedDek(data, GCP_CONFIG, 700, iv, b"what a waste of time"),
    ]
    texts = [edek.encode_base64(entry) for entry in incomplete]
    without_lease = protobuf.delimited(1, data) + protobuf.integer(2, GCP_CONFIG) + protobuf.integer(3, 700)
    texts.append(edek.to_base64(protobuf.delimited(1, without_lease)))
    for text in texts:
        refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=text)), 203)


# What is an EDEK, but not for this tenant or not whole.


def test_another_tenants_config_is_202_and_said_to_be_unassigned(http: httpx.Client, mint: Mint) -> None:
    for config_id in (512, 543, 2**31 - 1):
        foreign = mint.alien_edek(config_id, noise("foreign", 113))
        message = refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=foreign)), 202)
        assert "is not assigned to tenant" in message


def test_a_disabled_config_is_202_whatever_its_edek_holds(http: httpx.Client, mint: Mint) -> None:
    for blob in (noise("a", 113), noise("b", 293)):
        disabled = mint.alien_edek(COMBO_DISABLED, blob)
        refusal(post(http, "document/unwrap", body(COMBO, encryptedDocumentKey=disabled)), 202)


def test_what_the_kms_did_not_make_is_205(http: httpx.Client, mint: Mint) -> None:
    for blob in (b"x", noise("a", 113), noise("b", 256), noise("c", 5000)):
        answer = post(http, "document/unwrap", body(GCP, encryptedDocumentKey=mint.alien_edek(GCP_CONFIG, blob)))
        message = refusal(answer, 205)
        assert "The parameter is incorrect" in message
        assert "Code: BadParameter" in message


def test_an_altered_key_is_205(http: httpx.Client, mint: Mint) -> None:
    unleased = edek.decode_base64(mint.unleased_edek(GCP_CONFIG, bytes(32)))
    leased = edek.decode_base64(mint.leased_edek(GCP_CONFIG, bytes(32), 700))
    flipped_lease = edek.decode(leased.wrapped_lease)
    altered = [
        edek.EncryptedDek(flipped(unleased.data), GCP_CONFIG),
        edek.EncryptedDek(flipped(leased.data), GCP_CONFIG, 700, leased.lease_iv, leased.wrapped_lease),
        edek.EncryptedDek(leased.data, GCP_CONFIG, 700, flipped(leased.lease_iv), leased.wrapped_lease),
        edek.EncryptedDek(
            leased.data,
            GCP_CONFIG,
            700,
            leased.lease_iv,
            edek.encode(edek.EncryptedDek(flipped(flipped_lease.data), GCP_CONFIG)),
        ),
    ]
    for entry in altered:
        answer = post(http, "document/unwrap", body(GCP, encryptedDocumentKey=edek.encode_base64(entry)))
        refusal(answer, 205)


def flipped(value: bytes) -> bytes:
    return value[:-1] + bytes([value[-1] ^ 1])


def test_a_key_of_the_wrong_length_is_205(http: httpx.Client, mint: Mint) -> None:
    short = mint.leased_edek(GCP_CONFIG, bytes(16), 700)
    refusal(post(http, "document/unwrap", body(GCP, encryptedDocumentKey=short)), 205)


# Which fault is told first.


def test_an_unknown_tenant_is_told_before_its_edek_is_looked_at(http: httpx.Client, mint: Mint) -> None:
    disabled = mint.alien_edek(COMBO_DISABLED, noise("disabled", 293))
    for text in (JUNK, "%%%", disabled):
        message = refusal(post(http, "document/unwrap", body(UNKNOWN, encryptedDocumentKey=text)), 201)
        assert "No configurations available for the provided tenant" in message
        refusal(post(http, "document/batch-unwrap", body(UNKNOWN, edeks={"a": text})), 201)
        refusal(post(http, "document/rekey", body(UNKNOWN, encryptedDocumentKey=text, newTenantId=UNKNOWN)), 201)


def test_an_unknown_tenant_is_told_by_every_operation_on_keys(http: httpx.Client, mint: Mint) -> None:
    for route in ENDPOINTS:
        answer = post(http, route, {**full_request(route, mint), "tenantId": UNKNOWN})
        if route == "event/security-event":
            assert success(answer) is None
        elif route != "document/report-operations":
            assert "No configurations available for the provided tenant" in refusal(answer, 201)


def test_a_wrong_body_is_told_before_an_unknown_tenant(http: httpx.Client) -> None:
    refusal(post(http, "document/unwrap", body(UNKNOWN)), 102)
    refusal(post(http, "document/batch-wrap", body(UNKNOWN, documentIds="x")), 102)
    argon2 = {"paths": {"a": ["b"]}, "derivationType": "argon2", "secretType": "deterministic"}
    refusal(post(http, "key/derive-with-secret-path", body(UNKNOWN, **argon2)), 102)


def test_no_primary_config_is_told_by_wraps_only(http: httpx.Client, mint: Mint) -> None:
    refusal(post(http, "document/wrap", body(COMBO)), 200)
    refusal(post(http, "document/batch-wrap", body(COMBO, documentIds=["a"])), 200)
    active = mint.unleased_edek(COMBO_ACTIVE, bytes(32))
    success(post(http, "document/unwrap", body(COMBO, encryptedDocumentKey=active)))
    refusal(post(http, "document/rekey", body(COMBO, encryptedDocumentKey=active, newTenantId=COMBO)), 200)


def test_rekey_tells_the_old_tenants_faults_first(http: httpx.Client, mint: Mint) -> None:
    good = mint.unleased_edek(GCP_CONFIG, bytes(32))
    foreign = mint.unleased_edek(AZURE_CONFIG, bytes(32))
    alien = mint.alien_edek(GCP_CONFIG, noise("alien", 113))
    for new_tenant in (UNKNOWN, COMBO):
        for text, code in ((JUNK, 203), (foreign, 202), (alien, 205)):
            refusal(post(http, "document/rekey", body(GCP, encryptedDocumentKey=text, newTenantId=new_tenant)), code)
    refusal(post(http, "document/rekey", body(GCP, encryptedDocumentKey=good, newTenantId=UNKNOWN)), 201)
    refusal(post(http, "document/rekey", body(GCP, encryptedDocumentKey=good, newTenantId=COMBO)), 200)


# Rekey.


@pytest.mark.parametrize(
    ("new_tenant", "config_id", "leased"), [("tenant-gcp-l", 511, True), ("tenant-aws", 512, False), (GCP, 534, False)]
)
def test_rekey_keeps_the_dek_and_takes_the_new_tenants_form(
    http: httpx.Client, mint: Mint, new_tenant: str, config_id: int, leased: bool
) -> None:
    dek = os.urandom(32)
    for old in (mint.unleased_edek(GCP_CONFIG, dek), mint.leased_edek(GCP_CONFIG, dek, 625)):
        made = success(post(http, "document/rekey", body(GCP, encryptedDocumentKey=old, newTenantId=new_tenant)))
        assert made.keys() == {"dek", "edek"}
        assert base64.b64decode(made["dek"]) == dek
        entry = edek.decode_base64(made["edek"])
        assert (entry.config_id, entry.leased) == (config_id, leased)
        assert made["edek"] != old
        assert mint.open(made["edek"]) == dek
