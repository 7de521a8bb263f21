"""The pacer lets a few through in a turn of the loop, everybody in the end, in order."""

import asyncio

from tenant_security.service.pacer import Pacer


async def test_a_few_go_through_at_once_without_waiting() -> None:
    pacer = Pacer(3)
    for _ in range(3):
        waiting = pacer.turn()
        try:
            waiting.send(None)
        except StopIteration:
            continue
        raise AssertionError("it waited")


async def test_a_crowd_goes_through_in_order_and_no_turn_takes_more_than_its_share() -> None:
    pacer, turns, now = Pacer(5), [], 0

    async def one(number: int) -> None:
        await pacer.turn()
        turns.append((now, number))

    crowd = asyncio.gather(*(one(number) for number in range(23)))
    while not crowd.done():
        now += 1
        await asyncio.sleep(0)
    assert [number for _, number in turns] == list(range(23))
    per_turn = [sum(1 for turn, _ in turns if turn == each) for each in range(now + 1)]
    assert max(per_turn) <= 5
    assert len(pacer) == 0


async def test_whoever_leaves_while_waiting_takes_nobodys_place() -> None:
    pacer = Pacer(1)
    await pacer.turn()
    leaver, stayer = asyncio.create_task(pacer.turn()), asyncio.create_task(pacer.turn())
    leaver.cancel()
    await stayer
    assert leaver.cancelled()
    assert len(pacer) == 0
