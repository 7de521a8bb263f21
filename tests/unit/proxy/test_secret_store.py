"""The file of tenant secrets: one of each kind, numbers never used twice, readable by nobody else."""

import asyncio
import sqlite3
import stat
import subprocess
import sys

import pytest

from tenant_security.proxy.secret_store import Rotation, SecretFile

KEY = ("tenant", "deterministic", "path")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secrets.sqlite"


@pytest.fixture
def store(path):
    store = SecretFile(path)
    yield store
    store.close()


async def test_what_was_created_is_found(store):
    made = await store.create(*KEY, b"edek")

    assert await store.live(*KEY) == [made]
    assert (made.tenant_id, made.secret_type, made.secret_path, made.edek) == (*KEY, b"edek")
    assert made.rotation is Rotation.CURRENT
    assert made.id >= 1


async def test_whoever_is_second_gets_the_firsts(store):
    first = await store.create(*KEY, b"first")

    assert await store.create(*KEY, b"second") == first
    assert await store.live(*KEY) == [first]


async def test_a_hundred_creators_and_two_stores_make_one_secret(store, path):
    other = SecretFile(path)
    try:
        creators = (each.create(*KEY, bytes([n])) for n in range(50) for each in (store, other))
        assert len(set(await asyncio.gather(*creators))) == 1
    finally:
        other.close()


_CREATE = """
import sys
from pathlib import Path
from tenant_security.proxy.secret_store import SecretFile
store = SecretFile(Path(sys.argv[1]))
print(*[store.put("tenant", "vector", f"path-{each}", sys.argv[2].encode()).id for each in range(20)])
store.close()
"""


def test_processes_that_create_at_once_agree(path):
    started = [
        subprocess.Popen([sys.executable, "-c", _CREATE, path, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    found = [process.communicate()[0].split() for process in started]

    assert [process.returncode for process in started] == [0, 0, 0]
    assert found[0] == found[1] == found[2]
    assert len(set(found[0])) == 20


async def test_each_of_tenant_type_and_path_tells_secrets_apart(store):
    made = [
        await store.create(tenant, kind, path, b"edek")
        for tenant in ("a", "b")
        for kind in ("search", "deterministic", "vector")
        for path in ("", "p")
    ]

    assert len({each.id for each in made}) == 12


async def test_current_stands_before_in_rotation_and_archived_is_not_served(store):
    for rotation in (Rotation.ARCHIVED, Rotation.IN_ROTATION, Rotation.CURRENT):
        store.put(*KEY, rotation.value.encode(), rotation)

    assert [each.rotation for each in await store.live(*KEY)] == [Rotation.CURRENT, Rotation.IN_ROTATION]


def test_a_number_is_never_used_again_even_after_its_secret_is_gone(store, path):
    old = [store.put("tenant", "vector", str(n), b"edek").id for n in range(5)]
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM tenant_secret")
    database.close()

    assert store.put("tenant", "vector", "new", b"edek").id == max(old) + 1


def test_a_race_that_was_lost_wastes_no_number_that_somebody_could_have_seen(store):
    ids = [store.put(*KEY, b"edek").id for _ in range(10)]
    after = store.put("other", "vector", "", b"edek").id

    assert len(set(ids)) == 1
    assert after > ids[0]


def test_the_last_number_is_the_last_that_fits_a_ciphertexts_header(store, path):
    with sqlite3.connect(path) as database:
        store.put(*KEY, b"edek")
        database.execute("UPDATE sqlite_sequence SET seq = 4294967294")
    database.close()
    assert store.put("tenant", "vector", "last", b"edek").id == 2**32 - 1

    with pytest.raises(OSError, match="cannot be stored"):
        store.put("tenant", "vector", "beyond", b"edek")


def test_only_its_owner_can_read_the_file(store, path):
    store.put(*KEY, b"edek")

    for each in path.parent.glob("secrets.sqlite*"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each.name


async def test_it_is_still_there_in_the_next_process(path):
    first = SecretFile(path)
    made = await first.create(*KEY, b"edek")
    first.close()
    second = SecretFile(path)
    found = await second.live(*KEY)
    second.close()

    assert found == [made]


async def test_a_store_that_cannot_be_read_or_written_says_so(store):
    store.close()

    with pytest.raises(OSError, match="cannot be read"):
        await store.live(*KEY)
    with pytest.raises(OSError, match="cannot be stored"):
        await store.create(*KEY, b"edek")


def test_a_file_that_is_something_else_is_refused(path):
    path.write_bytes(b"not a database, but long enough to look into" * 100)

    with pytest.raises(OSError, match="cannot be used"):
        SecretFile(path)


def test_a_directory_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        SecretFile(tmp_path / "missing" / "secrets.sqlite")


@pytest.mark.parametrize("kind", ["", "other", "DETERMINISTIC"])
def test_a_type_that_nobody_knows_is_not_stored(store, kind):
    with pytest.raises(OSError, match="cannot be stored"):
        store.put("tenant", kind, "path", b"edek")
