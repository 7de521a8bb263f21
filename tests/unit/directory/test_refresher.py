import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenant_security.directory.refresher import DirectoryRefresher
from tenant_security.directory.snapshot_file import SnapshotFile
from tenant_security.directory.tenants import EMPTY_DIRECTORY, TenantDirectory
from tenant_security.trust.refusal import Part, SnapshotRefusedError

from .conftest import World


class Steps:
    """A sleep that is stepped by hand: each one waits until the test lets it end."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[float] = asyncio.Queue()
        self._go = asyncio.Semaphore(0)

    async def sleep(self, seconds: float) -> None:
        self.asked.put_nowait(seconds)
        await self._go.acquire()

    async def step(self) -> float:
        """Let the current sleep end, and return how long the next one is to be."""
        self._go.release()
        return await self.asked.get()


def refresher(world: World, **options: object) -> DirectoryRefresher:
    return DirectoryRefresher(
        SnapshotFile(world.path, portion_bytes=5000),
        credentials=world.credentials,
        clock=lambda: world.now_s,
        **options,  # type: ignore[arg-type]
    )


async def test_it_holds_nothing_before_and_the_tenants_after_loading(world: World) -> None:
    world.tenants("a", "b", "c", "d")
    world.write()
    fresh = refresher(world)
    assert fresh.current is EMPTY_DIRECTORY
    assert fresh.state.age_s(5) is None
    await fresh.load()
    assert len(fresh.current) == 4
    assert fresh.current.loaded_from == f"file {world.path}"
    assert fresh.state.age_s(world.now_s + 7) == 7


async def test_loading_nothing_good_raises(world: World) -> None:
    with pytest.raises(SnapshotRefusedError, match="cannot be read: No such file"):
        await refresher(world).load()


async def test_a_failure_keeps_the_last_good_directory_and_says_why(world: World) -> None:
    world.tenants("a")
    world.write()
    fresh = refresher(world)
    await fresh.load()
    good = fresh.current
    world.path.write_bytes(b"garbage\n")
    world.now_s += 100
    assert not await fresh.refresh_now()
    assert not await fresh.refresh_now()
    assert fresh.current is good
    assert (fresh.state.consecutive_failures, fresh.state.failures, fresh.state.successes) == (2, 2, 1)
    assert fresh.state.last_error_part is Part.FORMAT
    assert "first line cannot be read" in str(fresh.state.last_error)
    assert fresh.state.age_s(world.now_s) == 100
    world.write()
    assert await fresh.refresh_now()
    assert (fresh.state.consecutive_failures, fresh.state.last_error) == (0, None)
    assert fresh.state.reused_tenants == 1


async def test_each_swap_is_told_once_and_a_failure_is_not(world: World) -> None:
    told: list[TenantDirectory] = []
    world.tenants("a")
    world.write()
    fresh = refresher(world, on_change=told.append)
    await fresh.load()
    world.path.unlink()
    await fresh.refresh_now()
    assert told == [fresh.current]


async def test_a_fault_of_ours_is_a_failed_refresh_and_not_the_end(world: World) -> None:
    class Broken(SnapshotFile):
        def portions(self) -> Iterator[list[bytes]]:
            raise KeyError("oops")

    fresh = DirectoryRefresher(Broken(world.path), credentials=world.credentials)
    assert not await fresh.refresh_now()
    assert "unexpectedly (KeyError)" in str(fresh.state.last_error)


async def test_it_refreshes_on_a_splayed_and_then_jittered_timer(world: World) -> None:
    world.tenants("a")
    world.write()
    steps = Steps()
    chances = iter([0.25, 0.0, 0.5, 0.999999])
    fresh = refresher(world, sleep=steps.sleep, chance=lambda: next(chances))
    task = asyncio.create_task(fresh.run())
    assert await steps.asked.get() == 150
    assert (len(fresh.current), fresh.state.successes) == (1, 1)
    world.tenants("a", "b")
    world.write()
    assert await steps.step() == pytest.approx(540)
    assert (len(fresh.current), fresh.state.successes) == (2, 2)
    assert await steps.step() == pytest.approx(600)
    assert await steps.step() == pytest.approx(660, abs=0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_running_after_loading_does_not_load_twice(world: World) -> None:
    world.write()
    steps = Steps()
    fresh = refresher(world, sleep=steps.sleep)
    await fresh.load()
    task = asyncio.create_task(fresh.run())
    await steps.asked.get()
    assert fresh.state.successes == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_two_refreshes_at_once_follow_one_another(world: World) -> None:
    world.tenants("a")
    world.write()
    fresh = refresher(world)
    assert await asyncio.gather(fresh.refresh_now(), fresh.refresh_now()) == [True, True]
    assert fresh.state.reused_tenants == 1


def read(source: SnapshotFile) -> list[bytes]:
    return [line for portion in source.portions() for line in portion]


def test_a_file_is_read_in_portions_of_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"".join(b"%03d\n" % number for number in range(100)))
    portions = list(SnapshotFile(path, portion_bytes=20).portions())
    assert [line for portion in portions for line in portion] == [b"%03d" % number for number in range(100)]
    assert max(map(len, portions)) == 5


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        (b"a\nb", {}, "cut short"),
        (b"a" * 50 + b"\n", {"line_cap_bytes": 20}, "endless line"),
        (b"a\n" * 50, {"file_cap_bytes": 20}, "more than a snapshot may have"),
    ],
)
def test_a_file_beyond_its_bounds_is_refused(
    tmp_path: Path, content: bytes, options: dict[str, int], complaint: str
) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(SnapshotRefusedError, match=complaint):
        read(SnapshotFile(path, **options))


def test_a_file_that_is_replaced_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / "g"
    path.write_bytes(b"old\n" * 4)
    other.write_bytes(b"new\n" * 4)
    portions = SnapshotFile(path, portion_bytes=4).portions()
    first = next(portions)
    other.replace(path)
    assert first + [line for portion in portions for line in portion] == [b"old"] * 4


async def test_a_snapshot_below_the_floor_is_refused_where_nothing_is_remembered(world: World) -> None:
    world.tenants("a")
    world.write()
    version = world.header().version
    with pytest.raises(SnapshotRefusedError, match="is older than"):
        await refresher(world, oldest=version + 1).load()
    await refresher(world, oldest=version).load()


async def test_a_service_that_is_revoked_forgets_everybody_and_nothing_older_brings_them_back(world: World) -> None:
    world.tenants("a")
    old = world.write()
    fresh = refresher(world)
    await fresh.load()
    world.vendor.revoke_identity("proxy-1")
    world.write()
    assert not await fresh.refresh_now()
    assert (len(fresh.current), fresh.state.revoked) == (0, True)
    assert "was revoked" in fresh.current.withdrawn
    world.put(old)
    assert not await fresh.refresh_now()
    assert (len(fresh.current), fresh.state.revoked) == (0, True)
