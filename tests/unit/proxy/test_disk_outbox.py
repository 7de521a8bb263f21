"""The outbox on disk: in order, until acknowledged, over a restart; and operations that must have their event."""

import asyncio
import contextlib

import msgspec
import pytest

from tenant_security.errors import TenantSecurityError
from tenant_security.proxy.disk_outbox import DiskOutbox
from tenant_security.spool.disk import LocalDisk
from tenant_security.testing.clock import settle
from tenant_security.testing.proxies import running_proxy
from tenant_security.wire.events import EventRecord
from tenant_security.wire.proxy_api import IclFields

LEASED = "tenant-gcp-l"


def event(serial):
    return EventRecord(serial, serial, 0, "X", "tenant", "0" * 16, "ray", IclFields("me"), None)


class FullDisk(LocalDisk):
    """A disk that can be made to refuse."""

    full = False

    def open(self, path):
        file = super().open(path)
        disk, append = self, file.append

        def maybe(content):
            if disk.full:
                raise OSError(28, "No space left on device")
            append(content)

        file.append = maybe
        return file


@contextlib.asynccontextmanager
async def outbox(directory, **options):
    options = {"capacity": 1_000, "most_bytes": 1 << 30} | options
    box = DiskOutbox(directory, **options)
    writing = asyncio.create_task(box.run())
    try:
        yield box
    finally:
        writing.cancel()
        box.close()


async def serials(box, most=1_000):
    batch = await box.lend(most)
    return batch.number, [msgspec.json.decode(each)["sequence"] for each in batch.lines()]


async def test_events_leave_in_the_order_they_came_and_what_was_not_acknowledged_comes_again(tmp_path):
    async with outbox(tmp_path) as box:
        for serial in range(1, 8):
            assert box.add(event(serial))
        await box.safe()
        first, lent = await serials(box, 3)
        assert lent == [1, 2, 3]
        second, lent = await serials(box, 3)
        assert lent == [4, 5, 6]
        assert box.acknowledge(second)
        assert len(box) == 7  # not forgotten before what is older
        box.take_back(first)
        third, lent = await serials(box, 2)
        assert lent == [1, 2, 3]
        assert box.acknowledge(third)
        assert not box.acknowledge(third)
        assert len(box) == 1


async def test_a_restart_goes_on_where_the_logdrivers_were(tmp_path):
    async with outbox(tmp_path) as box:
        for serial in range(1, 6):
            box.add(event(serial))
        await box.safe()
        number, _ = await serials(box, 2)
        box.acknowledge(number)
        await serials(box, 2)  # lent and never acknowledged
        box.add(event(6))  # not even written yet

    async with outbox(tmp_path) as box:
        assert (await serials(box))[1] == [3, 4, 5, 6]


async def test_what_another_worker_left_is_brought_along(tmp_path):
    async with outbox(tmp_path) as first, outbox(tmp_path) as second:
        first.add(event(1))
        second.add(event(2))
        await first.safe()
        await second.safe()

    async with outbox(tmp_path) as only:
        assert sorted((await serials(only))[1]) == [1, 2]


async def test_who_waits_is_told_when_the_disk_is_full_and_it_recovers(tmp_path):
    disk = FullDisk()
    async with outbox(tmp_path, disk=disk) as box:
        disk.full = True
        box.add(event(1))
        with pytest.raises(TenantSecurityError, match="cannot be recorded"):
            await box.safe()
        assert not box.add(event(2))
        assert (box.dropped, len(box)) == (2, 0)
        disk.full = False
        while not box.add(event(3)):
            await asyncio.sleep(0.01)
        await box.safe()
        assert (await serials(box))[1] == [3]


async def test_nobody_is_lent_what_is_not_safe(tmp_path):
    box = DiskOutbox(tmp_path, capacity=10, most_bytes=1 << 30)
    box.add(event(1))
    asking = asyncio.ensure_future(box.lend(10))
    await settle()
    assert not asking.done()
    writing = asyncio.create_task(box.run())
    assert len((await asking).lines()) == 1
    writing.cancel()
    box.close()


@pytest.mark.parametrize("on_disk", [False, True])
async def test_an_operation_without_room_for_its_event_is_refused_and_nothing_is_told(tmp_path, on_disk):
    settings = {
        "TSP_EVENTS_WHEN_FULL": "refuse",
        "TSP_SEND_HIGH_WATER_MARK": "0",
        "TSP_EVENT_LOG_CHANNEL_SIZE": "3",
    }
    if on_disk:
        settings |= {"TSP_OUTBOX_DIRECTORY": str(tmp_path / "outbox"), "TSP_OUTBOX_BYTES": str(1 << 20)}
    async with running_proxy(tmp_path, settings=settings) as proxy:
        refused = served = 0
        padding = {"pad": "x" * 20_000}
        while not refused:
            status, answer = await proxy.call("document/wrap", LEASED, customFields=padding)
            if status == 200:
                served += 1
                continue
            refused += 1
            assert (status, answer["code"]) == (503, 301)
            assert "edek" not in answer
        assert served >= 3
        found = await proxy.fetch_events()
        assert [each["sequence"] for each in found] == list(range(1, served + 1))
        assert (await proxy.call("document/wrap", LEASED))[0] == 200
        assert (await proxy.ops("/ready"))[0] == 200


async def test_events_survive_the_proxy(tmp_path):
    settings = {"TSP_OUTBOX_DIRECTORY": str(tmp_path / "outbox")}
    async with running_proxy(tmp_path, settings=settings) as proxy:
        for _ in range(3):
            await proxy.call("document/wrap", LEASED)
        proxy.ports = proxy.ports._replace(events=None)  # nobody fetches before it stops
    async with running_proxy(tmp_path, settings=settings) as proxy:
        found = await proxy.fetch_events()
    assert [each["sequence"] for each in found] == [1, 2, 3]
