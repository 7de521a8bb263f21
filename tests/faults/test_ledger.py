"""Every event is counted from the call to the SIEM: none is lost, whatever is killed and whatever fails."""

from tenant_security.testing.ledger import Plan, run_ledger


async def test_no_event_is_lost_by_kills_of_the_logdriver_and_outages_of_the_siem(tmp_path):
    plan = Plan(events=20_000, kills=5, outages=2)
    result = await run_ledger(tmp_path, plan)

    assert (result.lost, result.kills, result.outages) == (0, 5, 2), result
    assert result.acknowledged >= plan.events
    assert result.worst_sink <= plan.batch * result.kills, result
    assert result.reordered == 0, result


async def test_no_event_is_lost_by_kills_of_a_proxy_whose_outbox_is_on_disk(tmp_path):
    proxy = {"TSP_OUTBOX_DIRECTORY": str(tmp_path / "outbox")}
    result = await run_ledger(tmp_path, Plan(events=5_000, kills=0, outages=0, proxy_kills=3, proxy=proxy))

    assert (result.lost, result.proxy_kills, result.reordered) == (0, 3, 0), result


async def test_no_event_is_lost_by_a_full_spool_that_may_give_nothing_up(tmp_path):
    small = {"LOGDRIVER_SPOOL_BYTES": str(8 << 20), "LOGDRIVER_MEMORY_BYTES": str(4 << 20)}
    little = {"TSP_SEND_HIGH_WATER_MARK": "0", "TSP_EVENT_LOG_CHANNEL_SIZE": "1000"}
    plan = Plan(events=30_000, kills=1, outages=0, fills=1, logdriver=small, proxy=little)
    result = await run_ledger(tmp_path, plan)

    assert (result.lost, result.fills, result.reordered) == (0, 1, 0), result
    assert result.refused > 0
