"""Adding up what workers counted: nothing is lost, nothing is counted twice, and totals never fall."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tenant_security.proxy.aggregate import GAUGES, Totals, parse, render
from tenant_security.service.metrics import Metrics

AWKWARD = 'a "quoted" {brace}, b=1 \\ and 2.0'


def said(requests: int = 0, *, latency_s: float | None = None, **gauges: float) -> bytes:
    """What a worker's /metrics says."""
    metrics = Metrics()
    metrics.counter("tsp_requests", "Requests", "route").add("wrap", count=requests)
    seconds = metrics.histogram("tsp_request_seconds", "Time", "route")
    if latency_s is not None:
        seconds.observe(latency_s, "wrap")
    for name, value in gauges.items():
        metrics.gauge(name, "A gauge", lambda value=value: value)
    return metrics.render()


def values(text: bytes) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    return {
        " ".join([sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))]): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def sums(*texts: bytes) -> dict[str, float]:
    totals = Totals()
    for serial, text in enumerate(texts):
        totals.saw(serial, text)
    return values(totals.render({serial: serial + 1 for serial in range(len(texts))}))


def test_one_worker_is_rendered_as_it_was_said() -> None:
    text = said(3, latency_s=0.002, tsp_connections=5, tsp_directory_age_seconds=1.5)
    totals = Totals()
    totals.saw(1, text)
    assert totals.render({1: 1}) == text


def test_what_is_parsed_is_rendered_byte_for_byte() -> None:
    metrics = Metrics()
    metrics.counter("tsp_clients", "Help with a \\ and\na line end", "language", "version").add(AWKWARD, "1.0 beta")
    metrics.gauge("tsp_age", "Age", lambda: 1.5e-7)
    text = metrics.render()
    assert render(parse(text).values()) == text


def test_counters_are_summed() -> None:
    assert sums(said(3), said(4))["tsp_requests_total route=wrap"] == 7


def test_labels_that_only_one_worker_has_are_kept() -> None:
    metrics = Metrics()
    metrics.counter("tsp_requests", "Requests", "route").add(AWKWARD, count=2)
    found = sums(said(3), metrics.render())
    assert found["tsp_requests_total route=wrap"] == 3
    assert found[f"tsp_requests_total route={AWKWARD}"] == 2


def test_histograms_are_summed_bucket_by_bucket() -> None:
    found = sums(said(latency_s=0.002), said(latency_s=0.2))
    assert found["tsp_request_seconds_bucket le=0.0025 route=wrap"] == 1
    assert found["tsp_request_seconds_bucket le=0.25 route=wrap"] == 2
    assert found["tsp_request_seconds_count route=wrap"] == 2
    assert abs(found["tsp_request_seconds_sum route=wrap"] - 0.202) < 1e-9


def test_a_gauge_is_the_sum_or_the_worst_worker() -> None:
    found = sums(
        said(tsp_connections=5, tsp_directory_version=7, tsp_directory_age_seconds=-1, tsp_ready=1),
        said(tsp_connections=6, tsp_directory_version=9, tsp_directory_age_seconds=30, tsp_ready=1),
    )
    assert found["tsp_connections"] == 11
    assert found["tsp_directory_version"] == 7
    assert found["tsp_directory_age_seconds"] == 30
    assert found["tsp_ready"] == 1


def test_a_gauge_without_a_rule_is_labelled_by_worker() -> None:
    assert "tsp_start_time_seconds" not in GAUGES
    found = sums(said(tsp_start_time_seconds=100), said(tsp_start_time_seconds=200))
    assert found["tsp_start_time_seconds worker=1"] == 100
    assert found["tsp_start_time_seconds worker=2"] == 200


def test_labels_that_a_gauge_has_stay_beside_the_worker() -> None:
    metrics = Metrics()
    metrics.gauge("tsp_new", "New", lambda: {("x",): 4.0}, "kind")
    assert sums(metrics.render())["tsp_new kind=x worker=1"] == 4


def test_a_worker_that_is_gone_stays_in_the_totals_and_leaves_the_gauges() -> None:
    totals = Totals()
    totals.saw(1, said(10, tsp_connections=5))
    totals.saw(2, said(1, tsp_connections=6))
    totals.lost(1)
    totals.saw(3, said(2, tsp_connections=7))
    found = values(totals.render({2: 2, 3: 1}))
    assert found["tsp_requests_total route=wrap"] == 13
    assert found["tsp_connections"] == 13


def test_losing_a_worker_that_never_said_anything_changes_nothing() -> None:
    totals = Totals()
    totals.saw(1, said(10))
    before = totals.render({1: 1})
    totals.lost(2)
    assert totals.render({1: 1}) == before


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("count"), st.integers(1, 4), st.integers(0, 50)),
            st.tuples(st.just("lose"), st.integers(1, 4), st.just(0)),
            st.tuples(st.just("look"), st.integers(1, 4), st.just(0)),
        ),
        max_size=40,
    )
)
def test_the_total_is_all_that_was_ever_seen_and_never_falls(steps: list[tuple[str, int, int]]) -> None:
    totals = Totals()
    serials = {number: number for number in range(1, 5)}
    counted: dict[int, int] = {}
    seen: dict[int, int] = {}
    fresh, last = 5, 0.0
    for what, number, count in steps:
        serial = serials[number]
        if what == "count":
            counted[serial] = counted.get(serial, 0) + count
        elif what == "look":
            seen[serial] = counted.get(serial, 0)
            totals.saw(serial, said(seen[serial]))
        else:
            totals.lost(serial)
            serials[number], fresh = fresh, fresh + 1
        total = values(totals.render({})).get("tsp_requests_total route=wrap", 0.0)
        assert total == sum(seen.values())
        assert total >= last
        last = total
