"""Deterministic fields: the same bytes for the same value, in either family's form, while secrets rotate."""

import pytest

from tenant_security.client import (
    Code,
    DocumentError,
    EncryptedField,
    Field,
    FieldForm,
    Fixer,
    KmsError,
    Metadata,
)

FORMS = list(FieldForm)
NAME = Field(b"Anna", "people", "name")


def other(form: FieldForm) -> FieldForm:
    return FieldForm.ALLOY if form is FieldForm.TSC else FieldForm.TSC


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [b"", b"x", b"Anna" * 100])
def test_a_field_comes_back_and_has_always_the_same_bytes(client, mine, form, value):
    fields, field = client.deterministic(form), Field(value, "people", "name")
    encrypted = fields.encrypt(field, mine)
    assert fields.encrypt(field, mine) == encrypted
    assert fields.decrypt(encrypted, mine) == field
    assert fields.search_terms(field, mine) == [encrypted.ciphertext]
    assert len(encrypted.ciphertext) == 6 + 16 + len(value)


@pytest.mark.parametrize("form", FORMS)
def test_the_two_forms_differ_and_both_are_read(client, mine, form):
    encrypted = client.deterministic(form).encrypt(NAME, mine)
    theirs = client.deterministic(other(form))
    assert theirs.encrypt(NAME, mine).ciphertext != encrypted.ciphertext
    assert theirs.decrypt(encrypted, mine) == NAME
    assert theirs.rotate(encrypted, mine) == theirs.encrypt(NAME, mine)


def test_tenants_paths_and_values_do_not_meet(client, mine, theirs):
    fields = client.deterministic(FieldForm.TSC)
    variants = [
        fields.encrypt(NAME, mine),
        fields.encrypt(NAME, theirs),
        fields.encrypt(Field(b"Anna", "people", "nickname"), mine),
        fields.encrypt(Field(b"Anna", "staff", "name"), mine),
        fields.encrypt(Field(b"Bert", "people", "name"), mine),
    ]
    assert len({each.ciphertext for each in variants}) == 5


def test_a_secret_is_rotated_while_everything_goes_on(memory, mine):
    fields = memory.client().deterministic(FieldForm.TSC)
    old = fields.encrypt(NAME, mine)
    memory.begin_rotation(mine.tenant_id, "people")
    new = fields.encrypt(NAME, mine)
    assert new != old
    assert fields.search_terms(NAME, mine) == [new.ciphertext, old.ciphertext]
    assert fields.decrypt(old, mine) == NAME
    assert fields.rotate(old, mine) == new
    assert fields.rotate(new, mine) == new
    memory.end_rotation(mine.tenant_id, "people")
    assert fields.search_terms(NAME, mine) == [new.ciphertext]
    with pytest.raises(DocumentError, match="no longer") as caught:
        fields.decrypt(old, mine)
    assert caught.value.code == 904


@pytest.mark.parametrize(
    ("ciphertext", "code"), [(b"", 905), (b"12345", 905), (bytes(22)[:4] + b"\x00\x01" + bytes(20), 905)]
)
def test_what_is_no_field_is_told(client, mine, ciphertext, code):
    with pytest.raises(DocumentError) as caught:
        client.deterministic(FieldForm.TSC).decrypt(EncryptedField(ciphertext, "people", "name"), mine)
    assert caught.value.code == code


def test_a_changed_field_does_not_open(client, mine):
    fields = client.deterministic(FieldForm.TSC)
    encrypted = fields.encrypt(NAME, mine)
    for at in range(len(encrypted.ciphertext)):
        changed = bytearray(encrypted.ciphertext)
        changed[at] ^= 1
        for use in (fields.decrypt, fields.rotate):
            with pytest.raises(DocumentError) as caught:
                use(EncryptedField(bytes(changed), "people", "name"), mine)
            assert caught.value.code in {904, 905, 906}


def test_a_field_of_another_path_does_not_open(client, mine):
    fields = client.deterministic(FieldForm.TSC)
    encrypted = fields.encrypt(NAME, mine)
    with pytest.raises(DocumentError, match="another derivation path"):
        fields.decrypt(EncryptedField(encrypted.ciphertext, "people", "nickname"), mine)


def test_without_a_primary_one_can_read_and_search_and_not_write(memory, mine):
    fields = memory.client().deterministic(FieldForm.TSC)
    encrypted = fields.encrypt(NAME, mine)
    memory.withdraw_primary(mine.tenant_id)
    assert fields.decrypt(encrypted, mine) == NAME
    assert fields.search_terms(NAME, mine) == [encrypted.ciphertext]
    for use in (lambda: fields.encrypt(NAME, mine), lambda: fields.rotate(encrypted, mine)):
        with pytest.raises(DocumentError, match="no primary KMS configuration") as caught:
            use()
        assert caught.value.fixer is Fixer.TENANT


def test_batches_take_one_request_and_fail_alone(memory, mine):
    fields = memory.client().deterministic(FieldForm.ALLOY)
    plain = {str(each): Field(str(each).encode(), "people", f"column/{each % 3}") for each in range(20)}
    encrypted = fields.encrypt_batch(plain, mine).all_or_raise()
    assert [call.keys for call in memory.calls] == [3]
    damaged = {**encrypted, "junk": EncryptedField(b"junk", "people", "name")}
    result = fields.decrypt_batch(damaged, mine)
    assert result.successes == plain
    assert set(result.failures) == {"junk"}
    assert fields.rotate_batch(damaged, mine).successes == encrypted
    terms = fields.search_terms_batch(plain, mine).all_or_raise()
    assert terms == {each: [field.ciphertext] for each, field in encrypted.items()}
    assert fields.encrypt_batch({}, mine).successes == {}
    assert len(memory.calls) == 4


def test_an_unknown_tenant_is_raised(memory):
    memory.remove_tenant("nobody")
    with pytest.raises(KmsError) as caught:
        memory.client().deterministic(FieldForm.TSC).encrypt(NAME, Metadata("nobody", requesting_id="r"))
    assert caught.value.code == Code.UNKNOWN_TENANT_OR_NO_ACTIVE_KMS_CONFIGURATIONS


async def test_the_asynchronous_client_does_the_same(memory, mine):
    async with memory.async_client() as client:
        fields = client.deterministic(FieldForm.TSC)
        encrypted = await fields.encrypt(NAME, mine)
        assert await fields.decrypt(encrypted, mine) == NAME
        assert await fields.search_terms(NAME, mine) == [encrypted.ciphertext]
        assert await fields.rotate(encrypted, mine) == encrypted
