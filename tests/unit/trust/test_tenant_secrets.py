"""Where tenant secrets belong: the vectors, whose word counts, and what may not go back."""

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.derive import bound_fingerprint, secret_fingerprint
from tenant_security.crypto.signing import SigningKey, VerifyingKey
from tenant_security.secret import Secret
from tenant_security.trust.tenant_secrets import (
    Makers,
    Place,
    Standing,
    bind,
    contradiction,
    falls_behind,
    fits,
    imported_fingerprint,
    makers_of,
    place_of,
    standing_of,
)
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_api import StoredSecret

PROXY, ADMIN, STRANGER = (SigningKey(Secret(bytes([each]) * 32)) for each in (1, 2, 3))
MAKERS = Makers(
    {PROXY.key_id: VerifyingKey(PROXY.public)},
    {ADMIN.key_id: VerifyingKey(ADMIN.public)},
)
PLACE = Place("acme", "a", "deterministic", "p", 5)
PLAIN = bytes(range(32))


def stored(place=PLACE, *, plain=PLAIN, key=PROXY, rotation="current", encrypted=b"edek"):
    fingerprint = bound_fingerprint(plain, place.encoded())
    binding = bind(key, place, fingerprint=fingerprint)
    return StoredSecret(
        "id", place.number, place.type, place.path, fingerprint, 1, "current", rotation, encrypted, 1, binding
    )


def changed(secret, **members):
    return msgspec.structs.replace(secret, **members)


@pytest.mark.vectors("secret-binding-v1")
def test_fingerprints_and_signatures_are_those_of_the_vectors(vector):
    place = Place(*(vector[name] for name in Place._fields))
    secret, key = bytes.fromhex(vector["secret"]), SigningKey(Secret(bytes.fromhex(vector["signing_seed"])))
    assert place.encoded().hex() == vector["place"]
    fingerprint = bound_fingerprint(secret, place.encoded())
    assert fingerprint.hex() == vector["fingerprint"]
    assert secret_fingerprint(secret).hex() == vector["fingerprint_before"]
    signed = bind(key, place, fingerprint=fingerprint)
    assert (signed.body.decode(), signed.key, signed.sig.hex()) == (vector["body"], vector["key"], vector["sig"])
    brought = bind(key, place, wrapped=b"edek")
    assert (brought.body.decode(), brought.sig.hex()) == (vector["brought_body"], vector["brought_sig"])


_TEXTS = st.lists(st.text(max_size=4), min_size=4, max_size=4)


@given(_TEXTS, _TEXTS, st.integers(1, 3), st.integers(1, 3))
def test_two_places_never_look_alike(one, other, number, another):
    first, second = Place(*one, number), Place(*other, another)
    assert (first.encoded() == second.encoded()) == (first == second)


def test_a_secret_that_a_proxy_bound_is_good_and_no_other_secret_is():
    secret = stored()
    assert standing_of(secret, PLACE, MAKERS) is Standing.BOUND
    assert fits(PLAIN, secret, PLACE, Standing.BOUND)
    assert not fits(bytes(32), secret, PLACE, Standing.BOUND)


@pytest.mark.parametrize(
    "place",
    [
        PLACE._replace(vendor="other"),
        PLACE._replace(tenant="b"),
        PLACE._replace(type="search"),
        PLACE._replace(path="q"),
        PLACE._replace(number=6),
    ],
)
def test_what_is_signed_for_one_place_counts_in_no_other(place):
    """A tenant of another vendor may use the same KMS key, and two tenants may share one of the vendor's."""
    moved = changed(stored(), type=place.type, path=place.path, number=place.number)
    assert standing_of(moved, place, MAKERS) is Standing.UNBOUND
    assert not fits(PLAIN, moved, place, Standing.BOUND)
    assert not fits(PLAIN, moved, place, Standing.UNBOUND)


def test_a_fingerprint_from_before_cannot_be_given_to_a_bound_secret_by_who_does_not_know_it():
    claimed = changed(stored(), binding=None)
    assert standing_of(claimed, PLACE, MAKERS) is Standing.UNBOUND
    swapped = changed(claimed, fingerprint=stored(PLACE._replace(path="q")).fingerprint)
    assert not fits(PLAIN, swapped, PLACE, Standing.UNBOUND)


def test_secrets_from_before_fit_where_they_are_accepted():
    before = changed(stored(), binding=None, fingerprint=secret_fingerprint(PLAIN))
    assert standing_of(before, PLACE, MAKERS) is Standing.UNBOUND
    assert fits(PLAIN, before, PLACE, Standing.UNBOUND)
    assert not fits(bytes(32), before, PLACE, Standing.UNBOUND)
    imported = changed(before, fingerprint=imported_fingerprint(b"edek"))
    assert fits(PLAIN, imported, PLACE, Standing.UNBOUND)
    assert not fits(PLAIN, changed(imported, encrypted=b"other"), PLACE, Standing.UNBOUND)


def test_what_an_admin_brings_counts_for_exactly_its_edek():
    brought = changed(stored(), fingerprint=imported_fingerprint(b"edek"), binding=bind(ADMIN, PLACE, wrapped=b"edek"))
    assert standing_of(brought, PLACE, MAKERS) is Standing.BROUGHT
    assert fits(PLAIN, brought, PLACE, Standing.BROUGHT)
    assert standing_of(changed(brought, encrypted=b"other"), PLACE, MAKERS) is Standing.UNBOUND


def test_each_signs_only_what_it_can_know():
    """An admin has not opened a secret, and a proxy that has not opened one has nothing to say."""
    by_admin = stored(key=ADMIN)
    assert standing_of(by_admin, PLACE, MAKERS) is Standing.UNBOUND
    unopened = changed(stored(), binding=bind(PROXY, PLACE, wrapped=b"edek"))
    assert standing_of(unopened, PLACE, MAKERS) is Standing.UNBOUND
    assert standing_of(stored(key=STRANGER), PLACE, MAKERS) is Standing.UNBOUND
    claimed = msgspec.structs.replace(stored(key=STRANGER).binding, key=PROXY.key_id)
    assert standing_of(changed(stored(), binding=claimed), PLACE, MAKERS) is Standing.UNBOUND


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"vendor":"acme"}', b"\xff"])
def test_nonsense_binds_nothing(body):
    nonsense = words.Signed(body, PROXY.key_id, bytes(64))
    assert standing_of(changed(stored(), binding=nonsense), PLACE, MAKERS) is Standing.UNBOUND


def identity(name, key, *tags, status=words.Status.ACTIVE):
    return words.ServiceIdentity(name, 1, 1, b"", key.public, tags, status)


def author(name, key, tenant, *may):
    return words.Author(key.public, name, tenant, may)


def test_proxies_make_secrets_and_admins_of_all_tenants_bring_them():
    record, config = words.May.RECORD, words.May.CONFIG
    manifest = words.Manifest(
        vendor="acme",
        version=1,
        created=1,
        expires=2,
        segments=(),
        identities=(
            identity("proxy", PROXY, "production", status=words.Status.REVOKED),
            identity("bridge", STRANGER, words.BRIDGE_TAG),
            identity("logdriver", STRANGER, words.LOGDRIVER_TAG),
        ),
        authors=(
            author("admin", ADMIN, words.SHARED, record, config),
            author("of one", STRANGER, "a", record, config),
            author("heads", STRANGER, words.SHARED, words.May.HEAD),
        ),
    )
    makers = makers_of(manifest)
    assert set(makers.proxies) == {PROXY.key_id}, "secrets that a proxy made before it was revoked stay good"
    assert set(makers.authors) == {ADMIN.key_id}


def path_of(*numbered):
    return [stored(PLACE._replace(number=number), rotation=rotation) for number, rotation in numbered]


@pytest.mark.parametrize(
    "numbered",
    [
        (),
        ((5, "current"),),
        ((1, "archived"), (2, "archived"), (4, "in-rotation"), (5, "current")),
        ((5, "in-rotation"),),
    ],
)
def test_a_path_as_a_broker_keeps_it(numbered):
    assert contradiction(path_of(*numbered)) == ""


@pytest.mark.parametrize(
    "numbered",
    [
        ((5, "current"), (6, "in-rotation")),
        ((5, "current"), (6, "archived")),
        ((5, "current"), (6, "current")),
        ((5, "in-rotation"), (5, "current")),
        ((5, "in-rotation"), (6, "in-rotation")),
    ],
)
def test_a_path_as_no_broker_keeps_it(numbered):
    assert contradiction(path_of(*numbered))


def test_paths_do_not_mind_each_other():
    assert contradiction([stored(), stored(PLACE._replace(path="q", number=6), rotation="in-rotation")]) == ""


SEEN = [(stored(), Standing.BOUND)]


@pytest.mark.parametrize(
    "now",
    [
        [stored()],
        [stored(rotation="in-rotation"), stored(PLACE._replace(number=6))],
        [stored(rotation="archived")],
        [stored(encrypted=b"wrapped anew")],
        [changed(stored(), migration="needs-migration")],
    ],
)
def test_secrets_go_on(now):
    assert falls_behind(now, SEEN) == ""


@pytest.mark.parametrize(
    "now",
    [
        [],
        [stored(PLACE._replace(number=6))],
        [changed(stored(), path="q")],
        [changed(stored(), type="search")],
        [stored(plain=bytes(32))],
    ],
)
def test_secrets_do_not_go_away(now):
    assert falls_behind(now, SEEN)


def test_rotations_do_not_go_back():
    for before, after in (("in-rotation", "current"), ("archived", "current"), ("archived", "in-rotation")):
        seen = [(stored(rotation=before), Standing.BOUND)]
        assert falls_behind([stored(rotation=after)], seen)


def test_what_was_brought_may_be_bound_later():
    brought = changed(stored(), fingerprint=imported_fingerprint(b"edek"))
    assert falls_behind([stored()], [(brought, Standing.BROUGHT)]) == ""


def test_a_place_is_read_from_what_the_broker_says():
    assert place_of("acme", "a", stored()) == PLACE
    assert hashlib.sha256(b"tenant-security/imported-secret/v1\nedek").digest() == imported_fingerprint(b"edek")
