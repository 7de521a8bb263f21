import msgspec
import pytest

from tenant_security.cli.top import Reading, number, quantile, row, samples_of, seconds, table

BEFORE = """
tsp_ready 1
tsp_requests_total{route="document/wrap",code="ok",path="fast"} 100
tsp_requests_total{route="document/wrap",code="208",path="slow"} 0
tsp_request_seconds_bucket{route="document/wrap",le="0.001"} 100
tsp_request_seconds_bucket{route="document/wrap",le="0.1"} 100
tsp_request_seconds_bucket{route="document/wrap",le="+Inf"} 100
"""
AFTER = """
tsp_ready 1
tsp_directory_tenants 7
tsp_directory_age_seconds 42
tsp_requests_total{route="document/wrap",code="ok",path="fast"} 280
tsp_requests_total{route="document/wrap",code="208",path="slow"} 20
tsp_request_seconds_bucket{route="document/wrap",le="0.001"} 190
tsp_request_seconds_bucket{route="document/wrap",le="0.1"} 300
tsp_request_seconds_bucket{route="document/wrap",le="+Inf"} 300
"""


def test_rates_and_quantiles_are_those_of_the_last_interval() -> None:
    shown = row("a", Reading(0.0, samples_of(BEFORE)), Reading(2.0, samples_of(AFTER)))
    assert (shown.state, shown.requests, shown.errors) == ("ready", 100.0, 10.0)
    assert shown.hot == pytest.approx(0.9)
    assert shown.p99_s == 0.1
    assert (shown.tenants, shown.config_age_s, shown.kms_p99_s) == (7, 42, None)
    assert quantile(samples_of(AFTER), samples_of(BEFORE), "tsp_request_seconds", 0.3) == 0.001


def test_a_daemon_that_does_not_answer_says_why() -> None:
    shown = row("a", Reading(0.0, samples_of(BEFORE)), Reading(2.0, None, "refused"))
    assert shown.state == "refused"
    assert shown.requests is None


def test_a_daemon_that_started_anew_has_no_negative_rate() -> None:
    shown = row("a", Reading(0.0, samples_of(AFTER)), Reading(2.0, samples_of(BEFORE)))
    assert shown.requests == 0


def test_garbage_counts_as_nothing() -> None:
    assert samples_of("{{{") == {}


def test_a_table_and_json_are_made_of_the_same_rows() -> None:
    shown = row("http://proxy:9000", Reading(0.0, samples_of(BEFORE)), Reading(2.0, samples_of(AFTER)))
    assert table([shown]).row_count == 1
    assert msgspec.json.decode(msgspec.json.encode(shown))["requests"] == 100.0


def test_numbers_are_written_as_people_read_them() -> None:
    assert (number(12345.6), number(0.25), number(None)) == ("12,346", "0.2", "")
    assert (seconds(0.0123), seconds(75), seconds(-1), seconds(float("inf"))) == ("12.3 ms", "75 s", "never", "> 10 s")
