import io
from pathlib import Path

import pytest

from tenant_security.secret import Secret
from tenant_security.service.api_key import ApiKeys
from tenant_security.service.logs import configure_logs, set_log_level
from tenant_security.service.reloading import Reloading


class World:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = io.BytesIO()
        self.log = configure_logs("proxy", 20, self.lines)
        self.keys = ApiKeys([Secret("first")])
        path.write_text("API_KEY=first\n")
        self.reloading = Reloading(path, "TSP_RELOAD_FILE", self.log, level=20, use_keys=self.keys.use)

    def accepted(self) -> list[str]:
        return [key for key in ("first", "second", "third") if self.keys.accepts(f"cmk {key}".encode())]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "proxy.env")


async def test_new_keys_count_and_old_ones_do_not(world: World) -> None:
    world.path.write_text("# the new one first\nAPI_KEY=second\nAPI_KEY_2=first\nSERVICE_CONFIG_ID=7\n")
    await world.reloading.renew()
    assert world.accepted() == ["first", "second"]
    world.path.write_text("API_KEY=second\n")
    await world.reloading.renew()
    assert world.accepted() == ["second"]
    assert b"second" not in world.lines.getvalue()


async def test_the_log_level_changes_for_loggers_that_exist(world: World) -> None:
    world.log.debug("unseen")
    world.path.write_text("API_KEY=first\nRUST_LOG=debug\n")
    await world.reloading.renew()
    world.log.debug("seen")
    world.path.write_text("API_KEY=first\nRUST_LOG=error\n")
    await world.reloading.renew()
    world.log.info("also-not-shown")
    said = world.lines.getvalue()
    assert b'"seen"' in said
    assert b"unseen" not in said
    assert b"also-not-shown" not in said
    set_log_level(20)


@pytest.mark.parametrize("text", ["", "API_KEY=\n", "RUST_LOG=debug\n", "API_KEY=third\nRUST_LOG=loud\n", "\udcff"])
async def test_a_file_that_cannot_be_used_changes_nothing_and_is_named(world: World, text: str) -> None:
    world.path.write_bytes(text.encode("utf-8", "surrogateescape"))
    await world.reloading.renew()
    assert world.accepted() == ["first"]
    assert str(world.path).encode() in world.lines.getvalue()
    assert b"third" not in world.lines.getvalue()


async def test_a_file_that_is_gone_changes_nothing(world: World) -> None:
    world.path.unlink()
    await world.reloading.renew()
    assert world.accepted() == ["first"]


async def test_what_the_file_does_not_name_stays_as_at_the_start(world: World) -> None:
    world.path.write_text("API_KEY=first\nRUST_LOG=error\n")
    await world.reloading.renew()
    world.path.write_text("API_KEY=first\n")
    await world.reloading.renew()
    assert world.accepted() == ["first"]
    world.log.info("said again")
    assert b"said again" in world.lines.getvalue()


async def test_a_daemon_without_keys_reads_the_level_alone(world: World) -> None:
    reloading = Reloading(world.path, "BROKER_RELOAD_FILE", world.log, level=20)
    world.path.write_text("RUST_LOG=debug\n")
    await reloading.renew()
    world.log.debug("seen")
    assert b"seen" in world.lines.getvalue()
    set_log_level(20)
