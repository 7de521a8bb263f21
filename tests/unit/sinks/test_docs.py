"""The page about sinks shows configs that can be read, and explains every member of every config."""

import base64
import re
from pathlib import Path

import msgspec
import pytest

from tenant_security.sinks.limits import LIMITS
from tenant_security.wire.sink_configs import SinkConfig, decode_sink_config
from tenant_security.wire.sinks.members import SinkMembers

PAGE = (Path(__file__).parents[3] / "docs" / "sinks.md").read_text("utf-8")
COMMON = {field.encode_name for field in msgspec.structs.fields(SinkMembers)}
EXAMPLES = [
    text for text in re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if '"version": 1' in text
]
KINDS = {each.__struct_config__.tag: each for each in SinkConfig.__args__}


def section(kind: str) -> str:
    """The section of the page that says it is about this type."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    [found] = [each for each in sections if f'\n`"type": "{kind}"`' in each]
    return found


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_example_is_a_config(text: str) -> None:
    decode_sink_config(text.encode())


def test_every_kind_has_an_example() -> None:
    shown = {msgspec.json.decode(text)["type"] for text in EXAMPLES}
    assert shown == set(LIMITS) - {"STDOUT"}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"STDOUT"}))
def test_every_member_is_explained(kind: str) -> None:
    names = {field.encode_name for field in msgspec.structs.fields(KINDS[kind])} - COMMON
    about = section(kind)
    if "Members as for [syslog]" in about:
        about += section("SYSLOG")
    assert {name for name in names if f"`{name}`" not in about} == set()


@pytest.mark.parametrize("name", sorted(COMMON))
def test_every_common_member_is_explained(name: str) -> None:
    assert f"`{name}`" in PAGE.split("## How events are delivered")[0]


@pytest.mark.parametrize("text", EXAMPLES)
def test_no_config_prints_or_writes_its_secrets(text: str) -> None:
    """The members that the page calls secret, filled with something that is looked for."""
    filled, count = re.subn(
        r'"(\.\.\.|whsec_[^"]+|-----BEGIN[^"]+|AKIA[^"]*)"', f'"{base64.b64encode(SECRET).decode()}"', text
    )
    if count == 0:
        return
    config = decode_sink_config(filled.encode())
    kept = repr(config)
    assert kept.count("<secret>") >= 1
    hidden = kept.replace("access_key_id='" + base64.b64encode(SECRET).decode(), "").replace(
        "external_id='" + base64.b64encode(SECRET).decode(), ""
    )
    assert base64.b64encode(SECRET).decode() not in hidden
    with pytest.raises(TypeError):
        msgspec.json.encode(config)


SECRET = bytes(range(32))
