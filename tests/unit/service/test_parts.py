"""Settings, API keys, logs, metrics, ray ids and signals: the small parts that every daemon shares."""

import asyncio
import contextlib
import io
import json
import logging
import os
import resource
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from tenant_security.errors import SettingsError
from tenant_security.secret import Secret
from tenant_security.service import logs, run
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.logs import configure_logs, log_level
from tenant_security.service.metrics import OTHER, Metrics
from tenant_security.service.ray import RayIds
from tenant_security.service.settings import Address, address, flag, integer, read_settings, seconds, setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    name: str = setting("NAME", str, required=True, meaning="A name.")
    count: int = setting("COUNT", integer(1, 10), default=3, meaning="A count.")
    place: Address | None = setting("PLACE", address, meaning="A place.")


def test_settings_are_read_with_their_defaults() -> None:
    assert read_settings(Sample, {"NAME": " x ", "OTHER": "y"}) == Sample(name="x", count=3, place=None)
    assert read_settings(Sample, {"NAME": "x", "COUNT": "10", "PLACE": "[::1]:80"}).place == Address("::1", 80)


def test_every_problem_is_reported_at_once_and_without_its_value() -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(Sample, {"NAME": " ", "COUNT": "secret-11", "PLACE": "secret-place"})
    assert wrong.value.problems == [
        "NAME is missing: A name.",
        "COUNT must be a whole number from 1 to 10",
        "PLACE must be an address such as 0.0.0.0:7777",
    ]


@given(st.text(max_size=30))
def test_no_text_makes_a_setting_fail_in_any_other_way(value: str) -> None:
    for read in (flag, integer(0, 5), seconds(0.5, 9), address, log_level):
        with contextlib.suppress(ValueError):
            read(value)


@pytest.mark.parametrize("value", ["0", "6", "", "1.5", "1e3", "9" * 5000, "NaN", "\N{ARABIC-INDIC DIGIT NINE}"])
def test_a_number_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="a whole number from 1 to 5"):
        integer(1, 5)(value)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "0.4", "9.1", "x"])
def test_a_duration_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match=r"a number of seconds from 0\.5 to 9"):
        seconds(0.5, 9)(value)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        (":7777", Address("0.0.0.0", 7777)),
        ("localhost:1", Address("127.0.0.1", 1)),
        ("[::]:65535", Address("::", 65535)),
    ],
)
def test_an_address_is_read(value: str, read: Address) -> None:
    assert address(value) == read
    assert address(str(read)) == read


def test_either_of_two_keys_is_accepted_and_nothing_near_them() -> None:
    keys = ApiKeys([Secret("first"), Secret("second")])
    assert keys.accepts(b"cmk first")
    assert keys.accepts(b"cmk second")
    near = (
        None,
        b"",
        b"cmk ",
        b"cmk",
        b"first",
        b"cmk  first",
        b"CMK first",
        b"cmk first ",
        b"cmk firs",
        b"cmk firstt",
    )
    assert not any(keys.accepts(each) for each in near)
    with pytest.raises(ValueError, match="one API key is needed"):
        ApiKeys([])
    with pytest.raises(ValueError, match="or two"):
        ApiKeys([Secret("a"), Secret("b"), Secret("c")])


@pytest.mark.parametrize(
    ("text", "level"),
    [("debug", 10), ("WARN", 30), ("info,some::module=debug", 20), ("x=trace,error", 40), ("off", 60), ("trace", 10)],
)
def test_a_log_level_is_read_as_the_original_wrote_it(text: str, level: int) -> None:
    assert log_level(text) == level


@pytest.fixture
def _root_logger_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_root_logger_as_before")
def test_every_line_is_one_object_whatever_it_holds() -> None:
    stream = io.BytesIO()
    log = configure_logs("proxy", logging.DEBUG, stream)
    log.info(
        "said", tenant_id='a"\n{}\r\u2028\x00', nothing=None, path=Path("/x"), secret=Secret("hidden"), raw=b"\xff"
    )
    log.debug("quiet")
    lines = stream.getvalue().split(b"\n")
    assert len(lines) == 3
    first = json.loads(lines[0])
    assert list(first)[:4] == ["service", "level", "timestamp", "message"]
    assert first["secret"] == "<secret>"
    assert first["tenant_id"] == 'a"\n{}\r\u2028\x00'
    assert "nothing" not in first


@pytest.mark.usefixtures("_root_logger_as_before")
def test_a_library_s_log_comes_without_its_arguments_and_without_its_second_line() -> None:
    stream = io.BytesIO()
    configure_logs("proxy", logging.INFO, stream)
    logging.getLogger("lib").warning("failed for %s", "secret-argument")
    logging.getLogger("lib").error("first line\nfuture: <Task exception=ValueError('secret-repr')>")
    logging.getLogger("lib").info("not from warnings on")
    said = stream.getvalue().decode()
    assert "secret" not in said
    assert [json.loads(line)["template"] for line in said.splitlines()] == ["failed for %s", "first line"]


class Choking(io.RawIOBase):
    """Takes a few bytes at a time and fails now and then."""

    def __init__(self) -> None:
        self.taken = b""
        self.room = 0

    def write(self, line: "bytes | memoryview") -> int:  # type: ignore[override]
        if self.room <= 0:
            raise OSError(28, "No space left on device")
        part = bytes(line)[: min(7, self.room)]
        self.room -= len(part)
        self.taken += part
        return len(part)


def test_a_line_that_was_torn_spoils_no_other() -> None:
    stream = Choking()
    lines = logs._Lines(stream)  # type: ignore[arg-type]
    stream.room = 20
    lines.msg(b'{"n": 1}')
    lines.msg(b'{"n": 2, "torn": true}')
    lines.msg(b'{"n": 3, "lost": true}')
    stream.room = 1000
    lines.msg(b'{"n": 4}')
    whole = stream.taken.split(b"\n")
    assert whole[0] == b'{"n": 1}'
    assert whole[-2:] == [b'{"n": 4}', b""]


def test_ray_ids_are_unique_and_short() -> None:
    rays, others = RayIds(), RayIds()
    made = [each.next() for _ in range(10_000) for each in (rays, others)]
    assert len(set(made)) == 20_000
    assert {len(each) for each in made} == {16}


def test_a_family_that_is_full_counts_the_rest_as_other() -> None:
    metrics = Metrics()
    counter = metrics.counter("c", "A counter", "a", "b", most=3)
    for number in range(10_000):
        counter.add(f"v{number}", "x")
    counter.add("v0", "x", count=4)
    assert counter.value("v0", "x") == 5
    assert counter.value("v9999", "x") == 0
    assert counter.value(OTHER, OTHER) == 9_997
    (family,) = text_string_to_metric_families(metrics.render().decode())
    assert len(family.samples) == 4


@given(st.lists(st.floats(0, 100), max_size=50))
def test_a_histogram_holds_every_duration_once(durations: list[float]) -> None:
    metrics = Metrics()
    histogram = metrics.histogram("h", "A histogram", "a")
    for each in durations:
        histogram.observe(each, 'odd "label"\n')
    (family,) = text_string_to_metric_families(metrics.render().decode())
    buckets = [each for each in family.samples if each.name == "h_bucket"]
    for each in buckets:
        assert each.value == sum(duration <= float(each.labels["le"]) for duration in durations)
    if durations:
        assert next(each.value for each in family.samples if each.name == "h_count") == len(durations)
        total = next(each.value for each in family.samples if each.name == "h_sum")
        assert total == pytest.approx(sum(durations))


async def test_the_first_signal_stops_and_the_second_hurries() -> None:
    signals, hangups = run.Signals(), []
    signals.install(lambda: hangups.append(1))
    loop = asyncio.get_running_loop()
    try:
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(signals.stop.wait(), 5)
        assert not signals.hurry.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.wait_for(signals.hurry.wait(), 5)
        assert hangups == [1]
    finally:
        for each in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.remove_signal_handler(each)


def test_a_daemon_may_open_as_many_files_as_the_system_lets_it() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        run.allow_open_files()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
