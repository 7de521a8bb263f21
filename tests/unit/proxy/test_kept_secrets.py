"""What a proxy keeps of tenant secrets on its disk: sealed, bounded, and gone when it should be."""

import os
import stat

import pytest

from tenant_security.proxy.kept_secrets import KeptSecrets
from tenant_security.secret import Secret
from tenant_security.wire.service_api import StoredSecret

SEED = Secret(bytes(range(32)))
ONE = StoredSecret("id", 1, "search", "path-of-one", bytes(32), 1, "current", "current", b"wrapped-bytes", 1)
TWO = StoredSecret("id2", 2, "search", "q", bytes(32), 1, "current", "current", b"more", 1)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "cache" / "secrets"


def test_what_is_kept_is_there_after_a_restart(place):
    kept = KeptSecrets(place, SEED)
    assert kept.recall("a") == ()
    kept.keep("a", (ONE,))
    kept.keep("a", (ONE, TWO))
    assert KeptSecrets(place, SEED).recall("a") == (ONE, TWO)
    assert KeptSecrets(place, SEED).recall("b") == ()


def test_the_disk_tells_neither_tenants_nor_secrets(place):
    KeptSecrets(place, SEED).keep("a-tenant", (ONE,))
    (file,) = place.iterdir()
    assert "a-tenant" not in file.name
    assert not {b"a-tenant", b"path-of-one", b"wrapped-bytes"} & set(file.read_bytes().split(b'"'))
    assert b"wrapped-bytes" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_another_identity_and_another_tenant_read_nothing(place):
    kept = KeptSecrets(place, SEED)
    kept.keep("a", (ONE,))
    assert KeptSecrets(place, Secret(bytes(32))).recall("a") == ()
    kept.keep("b", (TWO,))
    first, second = (place / kept._sealing.name(tenant) for tenant in ("a", "b"))
    second.write_bytes(first.read_bytes())
    assert kept.recall("b") == ()


@pytest.mark.parametrize("damage", [b"", b"x" * 11, b"x" * 500])
def test_a_damaged_file_is_as_none(place, damage):
    kept = KeptSecrets(place, SEED)
    kept.keep("a", (ONE,))
    (file,) = place.iterdir()
    file.write_bytes(damage)
    assert kept.recall("a") == ()
    kept.keep("a", (TWO,))
    assert kept.recall("a") == (TWO,)


def test_only_so_many_are_kept_and_the_oldest_go(place):
    kept = KeptSecrets(place, SEED, most=2)
    for tenant in ("a", "b", "a", "c"):
        kept.keep(tenant, (ONE,))
    assert [kept.recall(tenant) for tenant in "abc"] == [(ONE,), (), (ONE,)]
    assert len(list(place.iterdir())) == 2


def test_who_is_no_tenant_any_more_is_forgotten(place):
    kept = KeptSecrets(place, SEED)
    for tenant in "abc":
        kept.keep(tenant, (ONE,))
    kept.forget("a")
    kept = KeptSecrets(place, SEED)
    kept.keep_only(["b", "x"])
    assert [kept.recall(tenant) for tenant in "abc"] == [(), (ONE,), ()]
    kept.clear()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_swept_and_a_living_ones_is_not(place):
    KeptSecrets(place, SEED)
    (place / "incoming-999999999").write_bytes(b"half")
    (place / f"incoming-{os.getpid()}").write_bytes(b"being written")
    kept = KeptSecrets(place, SEED)
    assert {each.name for each in place.iterdir()} == {f"incoming-{os.getpid()}"}
    kept.keep("a", (ONE,))
    assert kept.recall("a") == (ONE,)
