"""Python Alloy as published, against our proxy."""

import base64
import itertools
import math
from collections.abc import AsyncIterator, Mapping

import pytest
from ironcore_alloy import (
    AdminEvent,
    AlloyError,
    AlloyMetadata,
    CustomEvent,
    DataEvent,
    EncryptedDocument,
    KmsError,
    PeriodicEvent,
    PlaintextDocumentWithEdek,
    PlaintextField,
    PlaintextVector,
    SecurityEvent,
    ServiceError,
    UserEvent,
)

from tenant_security.wire import edek, protobuf

from .alloy_client import Alloy, alloy_at
from .prepared import Mint, Prepared
from .running_proxy import API_KEY, SECOND_API_KEY, RunningProxy

TENANTS = ["tenant-gcp", "tenant-aws", "tenant-azure", "tenant-gcp-l", "tenant-aws-l", "tenant-azure-l"]
GCP, COMBO = "INTEGRATION-TEST-GCP", "INTEGRATION-TEST-COMBO"
DOCUMENT = {"name": b"Grace Hopper", "note": "né à l'œuvre".encode(), "empty": b""}
NO_SUCH_TENANT = 201
DISABLED = 202


@pytest.fixture
async def alloy(proxy: RunningProxy) -> AsyncIterator[Alloy]:
    async with alloy_at(proxy.url, API_KEY) as clients:
        yield clients


@pytest.fixture
async def legacy(proxy: RunningProxy) -> AsyncIterator[Alloy]:
    async with alloy_at(proxy.url, API_KEY, legacy=True) as clients:
        yield clients


def of(tenant: str) -> AlloyMetadata:
    return AlloyMetadata.new_simple(tenant)


def fully_described(tenant: str) -> AlloyMetadata:
    return AlloyMetadata(tenant, "user-1", "label", "198.51.100.7", "object-1", "request-1", {"key": "value"})


def field(value: bytes, secret_path: str = "people", derivation_path: str = "ssn") -> PlaintextField:
    return PlaintextField(plaintext_field=value, secret_path=secret_path, derivation_path=derivation_path)


def vector(secret_path: str = "people", derivation_path: str = "face") -> PlaintextVector:
    values = [0.1, -0.25, 0.5, 0.75, -1.0, 2.0, 0.0, 3.5]
    return PlaintextVector(plaintext_vector=values, secret_path=secret_path, derivation_path=derivation_path)


def assert_close(actual: PlaintextVector, expected: PlaintextVector) -> None:
    pairs = zip(actual.plaintext_vector, expected.plaintext_vector, strict=True)
    assert all(math.isclose(a, b, abs_tol=1e-4) for a, b in pairs)


def assert_tsp_error(error: object, code: int, kind: object) -> None:
    assert isinstance(error, AlloyError.TspError), repr(error)
    assert error.tsp_code == code
    assert error.error.error == kind


def raw(prepared: Prepared) -> EncryptedDocument:
    return EncryptedDocument(edek=base64.b64decode(prepared.edek), document={"body": prepared.document})


def v5_entry(blob: bytes) -> bytes:
    """The proxy's EncryptedDek inside an EDEK as Alloy stores it."""
    length = 6
    header = dict(protobuf.fields(blob[length:]))
    payload = header[2]
    assert isinstance(payload, bytes)
    wrapper = dict(protobuf.fields(payload))[2]
    assert isinstance(wrapper, bytes)
    entry = dict(protobuf.fields(wrapper))[2]
    assert isinstance(entry, bytes)
    return entry


# Documents with a detached EDEK.


@pytest.mark.parametrize("tenant", TENANTS)
async def test_document_roundtrip(alloy: Alloy, tenant: str) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, fully_described(tenant))
    assert all(plain not in encrypted.document[name] for name, plain in DOCUMENT.items() if plain)
    assert await alloy.standard.decrypt(encrypted, of(tenant)) == DOCUMENT


@pytest.mark.parametrize(
    ("tenant", "header"),
    [("tenant-gcp-l", bytes([0, 0, 1, 255, 2, 0])), ("tenant-aws", bytes([0, 0, 2, 0, 2, 0]))],
)
async def test_an_edek_starts_with_the_id_of_its_config(alloy: Alloy, tenant: str, header: bytes) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of(tenant))
    assert encrypted.edek[:6] == header
    assert alloy.standard.get_searchable_edek_prefix(int.from_bytes(header[:4], "big")) == header
    attached = await alloy.attached.encrypt(b"x", of(tenant))
    assert attached[:6] == header


async def test_a_leased_edek_has_the_size_that_stores_were_built_for(alloy: Alloy) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp-l"))
    assert len(encrypted.edek) == 259
    assert len(await alloy.attached.encrypt(bytes([1, 2, 3]), of("tenant-gcp-l"))) == 292


async def test_the_proxy_reads_an_edek_to_which_alloy_added_the_tenant(alloy: Alloy) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    await alloy.standard.decrypt(encrypted, of("tenant-gcp"))
    route, body = alloy.http.sent[-1]
    assert route == "document/unwrap"
    (entry,) = (value for number, value in protobuf.fields(base64.b64decode(body["encryptedDocumentKey"])))
    assert dict(protobuf.fields(entry))[6] == b"tenant-gcp"
    assert v5_entry(encrypted.edek) == entry


@pytest.mark.parametrize("tenant", ["tenant-gcp", "tenant-gcp-l"])
async def test_documents_can_be_added_under_an_existing_edek(alloy: Alloy, tenant: str) -> None:
    first = await alloy.standard.encrypt(DOCUMENT, of(tenant))
    other = PlaintextDocumentWithEdek(edek=first.edek, document={"name": b"changed"})
    second = await alloy.standard.encrypt_with_existing_edek(other, of(tenant))
    assert second.edek == first.edek
    both = EncryptedDocument(edek=first.edek, document={**first.document, **second.document})
    assert await alloy.standard.decrypt(both, of(tenant)) == {**DOCUMENT, "name": b"changed"}

    batch = await alloy.standard.encrypt_with_existing_edek_batch({"a": other}, of(tenant))
    assert batch.failures == {}
    assert await alloy.standard.decrypt(batch.successes["a"], of(tenant)) == {"name": b"changed"}


@pytest.mark.parametrize("tenant", ["tenant-aws", "tenant-gcp-l"])
async def test_document_batch_roundtrip(alloy: Alloy, tenant: str) -> None:
    plain = {"0": DOCUMENT, "1": {"only": b"one"}, "ünï/7": {"x": b"y"}}
    encrypted = await alloy.standard.encrypt_batch(plain, of(tenant))
    assert encrypted.failures == {}
    decrypted = await alloy.standard.decrypt_batch(encrypted.successes, of(tenant))
    assert decrypted.failures == {}
    assert decrypted.successes == plain


async def test_document_batch_fails_only_where_it_must(alloy: Alloy) -> None:
    mine = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    theirs = await alloy.standard.encrypt(DOCUMENT, of("tenant-aws"))
    damaged = EncryptedDocument(edek=mine.edek, document={"name": mine.document["name"][:-1] + b"\0\0"})
    junk = EncryptedDocument(edek=bytes([1]), document=mine.document)
    result = await alloy.standard.decrypt_batch(
        {"mine": mine, "theirs": theirs, "damaged": damaged, "junk": junk}, of("tenant-gcp")
    )
    assert result.successes == {"mine": DOCUMENT}
    assert sorted(result.failures) == ["damaged", "junk", "theirs"]
    assert isinstance(result.failures["theirs"], AlloyError.DecryptError)
    assert "TSP" in result.failures["theirs"].msg


async def test_document_stream_roundtrip(alloy: Alloy) -> None:
    encryptor = await alloy.standard.create_streaming_encryptor(of("tenant-gcp-l"))
    chunks = [bytes([number]) * 1000 for number in range(50)]
    ciphertext = b"".join(encryptor.encrypt_chunk(chunk) for chunk in chunks) + encryptor.finish()
    decryptor = await alloy.standard.create_streaming_decryptor(encryptor.edek(), of("tenant-gcp-l"))
    halves = [ciphertext[:700], ciphertext[700:]]
    assert b"".join(decryptor.decrypt_chunk(half) for half in halves) + decryptor.finish() == b"".join(chunks)
    whole = EncryptedDocument(edek=encryptor.edek(), document={"body": ciphertext})
    assert await alloy.standard.decrypt(whole, of("tenant-gcp-l")) == {"body": b"".join(chunks)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tenant-gcp", "tenant-gcp"),
        ("tenant-gcp", "tenant-aws"),
        ("tenant-gcp", "tenant-gcp-l"),
        ("tenant-gcp-l", "tenant-azure"),
        ("tenant-gcp-l", "tenant-aws-l"),
    ],
)
async def test_rekeyed_documents_open_for_the_new_tenant(alloy: Alloy, old: str, new: str) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of(old))
    rekeyed = await alloy.standard.rekey_edeks({"a": encrypted.edek, "b": encrypted.edek}, of(old), new)
    assert rekeyed.failures == {}
    assert sorted(rekeyed.successes) == ["a", "b"]
    moved = EncryptedDocument(edek=rekeyed.successes["a"], document=encrypted.document)
    assert await alloy.standard.decrypt(moved, of(new)) == DOCUMENT


async def test_rekeying_without_a_new_tenant_keeps_the_tenant(alloy: Alloy) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    rekeyed = await alloy.standard.rekey_edeks({"a": encrypted.edek}, of("tenant-gcp"), None)
    assert rekeyed.failures == {}
    assert rekeyed.successes["a"] != encrypted.edek
    moved = EncryptedDocument(edek=rekeyed.successes["a"], document=encrypted.document)
    assert await alloy.standard.decrypt(moved, of("tenant-gcp")) == DOCUMENT


async def test_rekey_fails_only_where_it_must(alloy: Alloy) -> None:
    encrypted = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    foreign = await alloy.standard.encrypt(DOCUMENT, of("tenant-aws"))
    result = await alloy.standard.rekey_edeks(
        {"mine": encrypted.edek, "foreign": foreign.edek, "junk": bytes([1])}, of("tenant-gcp"), "tenant-azure"
    )
    assert sorted(result.successes) == ["mine"]
    assert sorted(result.failures) == ["foreign", "junk"]
    assert_tsp_error(result.failures["foreign"], DISABLED, KmsError.KMS_CONFIGURATION_DISABLED)
    unknown = await alloy.standard.rekey_edeks({"mine": encrypted.edek}, of("tenant-gcp"), "fake-tenant")
    assert_tsp_error(unknown.failures["mine"], NO_SUCH_TENANT, KmsError.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS)


# What the Tenant Security Clients wrote and write.


@pytest.mark.parametrize("name", ["active", "unversioned", "unleased", "leased"])
async def test_data_of_the_past_opens(alloy: Alloy, prepared: Mapping[str, Prepared], name: str) -> None:
    specimen = prepared[name]
    opened = await alloy.standard.decrypt(raw(specimen), of(specimen.tenant))
    assert opened == {"body": specimen.plaintext.encode()}


async def test_data_under_a_disabled_config_is_refused(alloy: Alloy, prepared: Mapping[str, Prepared]) -> None:
    with pytest.raises(AlloyError.TspError) as refused:
        await alloy.standard.decrypt(raw(prepared["disabled"]), of(COMBO))
    assert_tsp_error(refused.value, DISABLED, KmsError.KMS_CONFIGURATION_DISABLED)


@pytest.mark.parametrize("tenant", ["tenant-gcp", "tenant-gcp-l"])
async def test_legacy_writers_and_modern_readers_agree(alloy: Alloy, legacy: Alloy, tenant: str) -> None:
    old = await legacy.standard.encrypt(DOCUMENT, of(tenant))
    assert edek.decode(old.edek).config_id > 0
    assert all(value.startswith(b"\x03IRON") for value in old.document.values())
    assert await alloy.standard.decrypt(old, of(tenant)) == DOCUMENT
    new = await alloy.standard.encrypt(DOCUMENT, of(tenant))
    assert await legacy.standard.decrypt(new, of(tenant)) == DOCUMENT


async def test_rekeying_converts_an_edek_to_the_writers_form(alloy: Alloy, legacy: Alloy) -> None:
    old = await legacy.standard.encrypt(DOCUMENT, of("tenant-gcp-l"))
    modern = (await alloy.standard.rekey_edeks({"a": old.edek}, of("tenant-gcp-l"), None)).successes["a"]
    assert modern[:6] == bytes([0, 0, 1, 255, 2, 0])
    back = (await legacy.standard.rekey_edeks({"a": modern}, of("tenant-gcp-l"), "tenant-aws")).successes["a"]
    assert edek.decode(back).config_id == 512
    moved = EncryptedDocument(edek=back, document=old.document)
    assert await alloy.standard.decrypt(moved, of("tenant-aws")) == DOCUMENT


async def test_raw_edeks_of_the_local_kms_never_look_like_a_key_id_header(alloy: Alloy, mint: Mint) -> None:
    for number in range(200):
        dek = bytes([number]) * 32
        blob = base64.b64decode(mint.unleased_edek(534, dek))
        assert blob[5] != 0 or blob[4] & 0x0F > 2, blob[:6].hex()
    specimen = mint.all()["unleased"]
    await alloy.standard.decrypt(raw(specimen), of(GCP))


# Documents that carry their EDEK.


@pytest.mark.parametrize("tenant", TENANTS)
async def test_attached_document_roundtrip(alloy: Alloy, tenant: str) -> None:
    encrypted = await alloy.attached.encrypt(b"attached text", of(tenant))
    assert await alloy.attached.decrypt(encrypted, of(tenant)) == b"attached text"


async def test_attached_batch_roundtrip_and_partial_failure(alloy: Alloy) -> None:
    plain = {"0": b"zero", "1": b""}
    encrypted = await alloy.attached.encrypt_batch(plain, of("tenant-gcp-l"))
    assert encrypted.failures == {}
    damaged = encrypted.successes["0"][:-1] + bytes([encrypted.successes["0"][-1] ^ 1])
    decrypted = await alloy.attached.decrypt_batch(
        {**encrypted.successes, "damaged": damaged, "junk": b"junk"}, of("tenant-gcp-l")
    )
    assert decrypted.successes == plain
    assert sorted(decrypted.failures) == ["damaged", "junk"]


@pytest.mark.parametrize(
    ("old", "new"), [("tenant-gcp", None), ("tenant-gcp-l", "tenant-aws"), ("tenant-aws", "tenant-azure-l")]
)
async def test_rekeyed_attached_documents_open_for_the_new_tenant(alloy: Alloy, old: str, new: str | None) -> None:
    encrypted = await alloy.attached.encrypt(b"text", of(old))
    rekeyed = await alloy.attached.rekey_documents({"a": encrypted}, of(old), new)
    assert rekeyed.failures == {}
    assert rekeyed.successes["a"] != encrypted
    assert await alloy.attached.decrypt(rekeyed.successes["a"], of(new or old)) == b"text"


async def test_attached_stream_roundtrip(alloy: Alloy) -> None:
    encryptor = await alloy.attached.create_streaming_attached_encryptor(of("tenant-aws-l"))
    ciphertext = encryptor.encrypt_chunk(b"a" * 5000) + encryptor.encrypt_chunk(b"b" * 5000) + encryptor.finish()
    decryptor = await alloy.attached.create_streaming_attached_decryptor(of("tenant-aws-l"))
    plaintext = b""
    for start in range(0, len(ciphertext), 3000):
        plaintext += await decryptor.decrypt_chunk(ciphertext[start : start + 3000])
    plaintext += await decryptor.finish()
    assert plaintext == b"a" * 5000 + b"b" * 5000
    assert await alloy.attached.decrypt(ciphertext, of("tenant-aws-l")) == plaintext


# Deterministic fields.


@pytest.mark.parametrize("tenant", TENANTS)
async def test_field_roundtrip(alloy: Alloy, tenant: str) -> None:
    encrypted = await alloy.deterministic.encrypt(field(b"123-45"), of(tenant))
    assert (
        encrypted.encrypted_field == (await alloy.deterministic.encrypt(field(b"123-45"), of(tenant))).encrypted_field
    )
    assert await alloy.deterministic.decrypt(encrypted, of(tenant)) == field(b"123-45")


async def test_fields_differ_by_tenant_path_and_derivation(alloy: Alloy) -> None:
    inputs = itertools.product(["tenant-gcp", "tenant-aws"], ["people", "invoices"], ["ssn", "name/first"])
    ciphertexts = set()
    for tenant, secret_path, derivation_path in inputs:
        plain = field(b"same", secret_path, derivation_path)
        ciphertexts.add((await alloy.deterministic.encrypt(plain, of(tenant))).encrypted_field[6:])
    assert len(ciphertexts) == 8


@pytest.mark.parametrize("tenant", ["notes-demo-1", "notes-demo-2"])
async def test_the_empty_secret_path_is_a_path(alloy: Alloy, tenant: str) -> None:
    encrypted = await alloy.deterministic.encrypt(field(b"tag", "", "tags"), of(tenant))
    assert await alloy.deterministic.decrypt(encrypted, of(tenant)) == field(b"tag", "", "tags")
    assert alloy.http.sent[-1][1]["paths"] == {"": ["tags"]}
    embedding = await alloy.vector.encrypt(vector("", "notes"), of(tenant))
    assert_close(await alloy.vector.decrypt(embedding, of(tenant)), vector("", "notes"))


async def test_field_batch_roundtrip_and_partial_failure(alloy: Alloy) -> None:
    plain = {"a": field(b"1"), "b": field(b"2", "people", "name"), "c": field(b"3", "invoices", "total")}
    encrypted = await alloy.deterministic.encrypt_batch(plain, of("tenant-gcp"))
    assert encrypted.failures == {}
    damaged = (await alloy.deterministic.encrypt_batch(plain, of("tenant-gcp"))).successes["a"]
    damaged.encrypted_field = damaged.encrypted_field[:-1] + bytes([damaged.encrypted_field[-1] ^ 1])
    decrypted = await alloy.deterministic.decrypt_batch({**encrypted.successes, "damaged": damaged}, of("tenant-gcp"))
    assert decrypted.successes == plain
    assert list(decrypted.failures) == ["damaged"]


async def test_a_path_that_is_not_rotated_gives_one_query_value(alloy: Alloy) -> None:
    query = {"q": field(b"value", "secret", "path")}
    values = await alloy.deterministic.generate_query_field_values(query, of("tenant-gcp-l"))
    assert len(values["q"]) == 1
    encrypted = await alloy.deterministic.encrypt(query["q"], of("tenant-gcp-l"))
    assert values["q"][0].encrypted_field == encrypted.encrypted_field
    with pytest.raises(AlloyError):
        await alloy.deterministic.get_in_rotation_prefix("secret", "path", of("tenant-gcp-l"))


@pytest.mark.parametrize("secret_path", ["rotation-started", "foo"])
async def test_a_path_in_rotation_gives_both_values_and_rotates_to_the_current(alloy: Alloy, secret_path: str) -> None:
    plain = field(b"value", secret_path, "bar")
    values = (await alloy.deterministic.generate_query_field_values({"q": plain}, of(GCP)))["q"]
    current = await alloy.deterministic.encrypt(plain, of(GCP))
    assert len(values) == 2
    (old,) = (value for value in values if value.encrypted_field != current.encrypted_field)
    assert await alloy.deterministic.decrypt(old, of(GCP)) == plain
    prefix = await alloy.deterministic.get_in_rotation_prefix(secret_path, "bar", of(GCP))
    assert old.encrypted_field.startswith(prefix)
    rotated = await alloy.deterministic.rotate_fields({"f": old}, of(GCP), None)
    assert rotated.failures == {}
    assert rotated.successes["f"].encrypted_field == current.encrypted_field


async def test_fields_rotate_to_another_tenant(alloy: Alloy) -> None:
    plain = field(b"value", "secret", "path")
    encrypted = await alloy.deterministic.encrypt(plain, of("tenant-gcp-l"))
    rotated = await alloy.deterministic.rotate_fields({"f": encrypted}, of("tenant-gcp-l"), "tenant-aws-l")
    assert rotated.failures == {}
    assert rotated.successes["f"].encrypted_field != encrypted.encrypted_field
    assert await alloy.deterministic.decrypt(rotated.successes["f"], of("tenant-aws-l")) == plain


async def test_a_tenant_without_primary_config_can_search_but_gets_no_new_secret(alloy: Alloy) -> None:
    plain = field(b"value", "path2", "path1")
    values = await alloy.deterministic.generate_query_field_values({"q": plain}, of(COMBO))
    assert len(values["q"]) == 1
    assert await alloy.deterministic.decrypt(values["q"][0], of(COMBO)) == plain
    with pytest.raises(AlloyError):
        await alloy.deterministic.encrypt(field(b"value", "never-seen", "path1"), of(COMBO))


# Vectors.


@pytest.mark.parametrize("tenant", TENANTS)
async def test_vector_roundtrip(alloy: Alloy, tenant: str) -> None:
    encrypted = await alloy.vector.encrypt(vector(), of(tenant))
    assert encrypted.encrypted_vector != vector().plaintext_vector
    assert_close(await alloy.vector.decrypt(encrypted, of(tenant)), vector())


async def test_vectors_and_fields_use_different_secrets_of_the_same_path(alloy: Alloy) -> None:
    embedding = await alloy.vector.encrypt(vector("secret", "path"), of("tenant-gcp-l"))
    tag = await alloy.deterministic.encrypt(field(b"x", "secret", "path"), of("tenant-gcp-l"))
    assert embedding.paired_icl_info[:4] != tag.encrypted_field[:4]


async def test_vector_batch_roundtrip_and_partial_failure(alloy: Alloy) -> None:
    plain = {"a": vector(), "b": vector("people", "voice")}
    encrypted = await alloy.vector.encrypt_batch(plain, of("tenant-gcp"))
    assert encrypted.failures == {}
    damaged = await alloy.vector.encrypt(vector(), of("tenant-gcp"))
    damaged.encrypted_vector = [value + 1 for value in damaged.encrypted_vector]
    decrypted = await alloy.vector.decrypt_batch({**encrypted.successes, "damaged": damaged}, of("tenant-gcp"))
    assert sorted(decrypted.successes) == ["a", "b"]
    assert list(decrypted.failures) == ["damaged"]
    assert_close(decrypted.successes["b"], plain["b"])


async def test_vectors_query_and_rotate_to_another_tenant(alloy: Alloy) -> None:
    plain = vector("secret", "path")
    queries = await alloy.vector.generate_query_vectors({"q": plain}, of("tenant-gcp-l"))
    assert len(queries["q"]) == 1
    assert_close(await alloy.vector.decrypt(queries["q"][0], of("tenant-gcp-l")), plain)
    encrypted = await alloy.vector.encrypt(plain, of("tenant-gcp-l"))
    rotated = await alloy.vector.rotate_vectors({"v": encrypted}, of("tenant-gcp-l"), "tenant-aws-l")
    assert rotated.failures == {}
    assert_close(await alloy.vector.decrypt(rotated.successes["v"], of("tenant-aws-l")), plain)
    with pytest.raises(AlloyError):
        await alloy.vector.get_in_rotation_prefix("secret", "path", of("tenant-gcp-l"))


# Security events.

EVENTS = [
    SecurityEvent.ADMIN(AdminEvent.ADD),
    SecurityEvent.DATA(DataEvent.EXPORT),
    SecurityEvent.PERIODIC(PeriodicEvent.CREATE_BACKUP),
    SecurityEvent.USER(UserEvent.LOGIN),
    SecurityEvent.CUSTOM(CustomEvent(event_name="OWN_NAME")),
]


@pytest.mark.parametrize("event", EVENTS, ids=["admin", "data", "periodic", "user", "custom"])
async def test_security_events_are_accepted(alloy: Alloy, event: SecurityEvent) -> None:
    await alloy.standard.log_security_event(event, fully_described("tenant-gcp"), 1_700_000_000_123)
    await alloy.attached.log_security_event(event, of("tenant-gcp"), None)
    await alloy.deterministic.log_security_event(event, of("tenant-gcp"), None)
    await alloy.vector.log_security_event(event, of("tenant-gcp"), None)
    assert [route for route, _ in alloy.http.sent] == ["event/security-event"] * 4
    assert all(isinstance(body["event"], str) and "event" not in body["iclFields"] for _, body in alloy.http.sent)


async def test_security_events_of_an_unknown_tenant_are_accepted(alloy: Alloy) -> None:
    await alloy.standard.log_security_event(EVENTS[0], of("fake_tenant"), None)


# Refusals.


@pytest.mark.parametrize("tenant", ["fake_tenant", "not-a-tenant"])
async def test_an_unknown_tenant_is_told_so_by_every_operation(alloy: Alloy, tenant: str) -> None:
    known = await alloy.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    attached = await alloy.attached.encrypt(b"x", of("tenant-gcp"))
    operations = [
        alloy.standard.encrypt(DOCUMENT, of(tenant)),
        alloy.standard.decrypt(known, of(tenant)),
        alloy.standard.encrypt_batch({"a": DOCUMENT}, of(tenant)),
        alloy.standard.decrypt_batch({"a": known}, of(tenant)),
        alloy.attached.encrypt(b"x", of(tenant)),
        alloy.attached.decrypt(attached, of(tenant)),
        alloy.deterministic.encrypt(field(b"x"), of(tenant)),
        alloy.vector.encrypt(vector(), of(tenant)),
    ]
    for operation in operations:
        with pytest.raises(AlloyError.TspError) as refused:
            await operation
        assert_tsp_error(refused.value, NO_SUCH_TENANT, KmsError.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS)


async def test_a_tenant_without_primary_config_cannot_encrypt_documents(alloy: Alloy) -> None:
    for operation in (
        alloy.standard.encrypt(DOCUMENT, of(COMBO)),
        alloy.standard.encrypt_batch({"a": DOCUMENT}, of(COMBO)),
        alloy.attached.encrypt(b"x", of(COMBO)),
    ):
        with pytest.raises(AlloyError.TspError) as refused:
            await operation
        assert_tsp_error(refused.value, 200, KmsError.NO_PRIMARY_KMS_CONFIGURATION)


async def test_another_tenants_document_is_refused(alloy: Alloy) -> None:
    theirs = await alloy.standard.encrypt(DOCUMENT, of("tenant-aws"))
    with pytest.raises(AlloyError.TspError) as refused:
        await alloy.standard.decrypt(theirs, of("tenant-gcp"))
    assert_tsp_error(refused.value, DISABLED, KmsError.KMS_CONFIGURATION_DISABLED)


async def test_an_altered_leased_edek_is_refused(alloy: Alloy, mint: Mint) -> None:
    good = edek.decode_base64(mint.leased_edek(511, b"k" * 32, 700))
    altered = edek.encode(
        edek.EncryptedDek(good.data[:-1] + bytes([good.data[-1] ^ 1]), 511, 700, good.lease_iv, good.wrapped_lease)
    )
    with pytest.raises(AlloyError.TspError) as refused:
        await alloy.standard.decrypt(EncryptedDocument(edek=altered, document={"a": b"\x03IRON"}), of("tenant-gcp-l"))
    assert_tsp_error(refused.value, 205, KmsError.KMS_UNWRAP_FAILED)


async def test_a_wrong_api_key_is_told_so(proxy: RunningProxy) -> None:
    async with alloy_at(proxy.url, "AAAAAAAAAAAAAAAA") as stranger:
        with pytest.raises(AlloyError.TspError) as refused:
            await stranger.standard.encrypt(DOCUMENT, of("tenant-gcp"))
    assert_tsp_error(refused.value, 101, ServiceError.UNAUTHORIZED_REQUEST)
    assert refused.value.http_code == 401


async def test_the_second_api_key_is_as_good_as_the_first(proxy: RunningProxy) -> None:
    async with alloy_at(proxy.url, SECOND_API_KEY) as clients:
        encrypted = await clients.standard.encrypt(DOCUMENT, of("tenant-gcp"))
        assert await clients.standard.decrypt(encrypted, of("tenant-gcp")) == DOCUMENT
