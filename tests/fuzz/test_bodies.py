"""A hundred thousand bodies that nobody should send: each is answered, none with an internal error.

Run with ``FUZZ_SEED=<number>`` to repeat what a failure names, with ``FUZZ_TIMES=<factor>`` to send more.
"""

import asyncio
import base64
import os
import random
from collections import Counter

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_security.errors import FAULTS, Code

SEED = int(os.environ.get("FUZZ_SEED", int.from_bytes(os.urandom(6))))
TIMES = float(os.environ.get("FUZZ_TIMES", "1"))
BODIES = round(8_000 * TIMES)
EDEKS = round(40_000 * TIMES)

FIELDS = {"requestingId": "me", "dataLabel": "pii", "sourceIp": "f", "objectId": None, "requestId": "r"}
COMMON = {"tenantId": "leased", "iclFields": FIELDS, "customFields": {"k": "v"}, "timestampMillis": 1_795_512_600_000}
ENDPOINTS = {
    "document/wrap": {},
    "document/unwrap": {"encryptedDocumentKey": "EDEK"},
    "document/batch-wrap": {"documentIds": ["a", "b", "a", ""]},
    "document/batch-unwrap": {"edeks": {"a": "EDEK", "b": "EDEK", "": "x"}},
    "document/rekey": {"encryptedDocumentKey": "EDEK", "newTenantId": "plain"},
    "document/report-operations": {"operations": {"EDEK": {"wraps": 1, "unwraps": 2}}},
    "key/derive-with-secret-path": {
        "paths": {"": ["a/b", "c"], "s": []}, "derivationType": "sha512", "secretType": "deterministic",
    },
    "event/security-event": {"event": "USER_LOGIN"},
}  # fmt: skip
JUNK = [
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, 2**64, 10**30, 1.5, -0.0, 1e308, "", "x",
    "\x00", "\x7f", "é", "🔑",
    "\u2028", "x" * 5_000, "AAAA", "EDEK", "plain", "leased", "no-primary", "nobody", "sha256",
    "argon2", "search", "vector", [], {}, [[]], [None], {"": ""}, {"a": None}, ["a"] * 600,
    {str(n): ["x"] for n in range(300)}, [{"a": [1, {"b": "c"}]}],
]  # fmt: skip
SPLICES = [
    b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\x00", b"\\ud800", b"\\udc00\\ud800", b"\\u0000", b"1e999", b"-", b"NaN",
    b"Infinity", b"9" * 400, b"0x1", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"[" * 3_000, b'{"a":' * 2_000,
    b"//", b"\xef\xbb\xbf", b'"tenantId":"plain",', b"null", b"true", b"''",
]  # fmt: skip


def places(value, path=()):
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in items:
        yield from places(each, (*path, name))


def changed(chance: random.Random, value):
    """A copy with one member replaced, removed, renamed or doubled."""
    copy = msgspec.json.decode(msgspec.json.encode(value))
    *way, last = chance.choice(list(places(copy)))
    within = copy
    for step in way:
        within = within[step]
    match chance.randrange(6):
        case 0:
            del within[last]
        case 1 if isinstance(within, dict):
            within[chance.choice(["", "x", last + "x", last.upper(), "tenantId", "event"])] = within.pop(last)
        case 2 if isinstance(within, list):
            within.extend(within * chance.choice([1, 300]))
        case _:
            within[last] = chance.choice(JUNK)
    return copy


def bytes_of(chance: random.Random, value, edeks: list[str]) -> bytes:
    """A body: mostly what was meant, sometimes broken beyond JSON."""
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        if not value:
            break
        value = changed(chance, value)
    raw = msgspec.json.encode(value).replace(b"EDEK", chance.choice(edeks).encode())
    match chance.randrange(8):
        case 0:
            at = chance.randrange(len(raw) + 1)
            return raw[:at] + chance.choice(SPLICES) + raw[at + chance.randrange(3) :]
        case 1:
            return raw[: chance.randrange(len(raw) + 1)]
        case 2:
            broken = bytearray(raw)
            for _ in range(chance.randrange(1, 4)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            return bytes(broken)
        case 3 if chance.random() < 0.3:
            return chance.randbytes(chance.randrange(200))
    return raw


def check(status, answer, sent: bytes):
    """What every answer promises, whatever was sent."""
    about = f"FUZZ_SEED={SEED}, body {sent[:2_000]!r}: HTTP {status} {str(answer)[:500]}"
    if status == 200:
        assert not isinstance(answer, dict) or "code" not in answer, about
        return "ok"
    assert status < 500, about
    code = Code(answer["code"])
    assert status in (FAULTS[code].http_status, 413), about
    assert isinstance(answer["message"], str), about
    assert answer["message"], about
    return str(int(code))


async def edeks_of(api) -> list[str]:
    found = [(await api.ask("document/wrap", who))["edek"] for who in ("plain", "leased", "")]
    await api.ask("key/derive-with-secret-path", "leased", **ENDPOINTS["key/derive-with-secret-path"])
    return found


@pytest.mark.parametrize("name", ENDPOINTS)
def test_no_body_is_answered_with_an_internal_error_and_the_hot_path_never_differs(name, make_api):
    async def send():
        api = make_api()
        edeks = await edeks_of(api)
        chance = random.Random(f"{SEED}/{name}")
        seen: Counter[str] = Counter()
        hot = api.answers.get(name)
        for _ in range(BODIES):
            body = bytes_of(chance, COMMON | ENDPOINTS[name] | {"tenantId": chance.choice(["leased", "plain"])}, edeks)
            quick = hot(body, "ray") if hot is not None else None
            status, answer = await api.post(name, body)
            seen[check(status, answer, body)] += 1
            if quick is not None:
                assert status == 200, f"FUZZ_SEED={SEED}: only the hot path took {body[:2_000]!r}"
                assert shape(msgspec.json.decode(quick)) == shape(answer)
                seen["hot"] += 1
        assert not api.errors
        return seen, hot is not None

    seen, may_be_hot = asyncio.run(send())
    # A fuzzer that only ever meets one answer tests nothing.
    assert seen["ok"] > BODIES // 20
    assert seen["102"] > BODIES // 20
    assert bool(seen["hot"]) is may_be_hot


def shape(answer):
    """An answer without what is new every time."""
    if isinstance(answer, dict):
        return {name: shape(each) for name, each in answer.items() if name not in ("dek", "edek")}
    return [shape(each) for each in answer] if isinstance(answer, list) else answer


def broken(chance: random.Random, message: bytes) -> bytes:
    """An EDEK that somebody altered."""
    altered = bytearray(message)
    match chance.randrange(6):
        case 0:
            return bytes(altered[: chance.randrange(len(altered))])
        case 1:
            altered.insert(chance.randrange(len(altered)), chance.randrange(256))
        case 2:
            del altered[chance.randrange(len(altered))]
        case 3:
            altered += chance.randbytes(chance.randrange(1, 20))
        case _:
            for _ in range(chance.randrange(1, 4)):
                altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
    return bytes(altered)


@pytest.mark.parametrize("who", ["plain", "leased"])
def test_an_altered_edek_gives_its_own_dek_or_a_fault_of_the_edek(who, make_api):
    async def send():
        api = make_api()
        made = await api.ask("document/wrap", who)
        message = base64.b64decode(made["edek"])
        chance = random.Random(f"{SEED}/{who}")
        seen: Counter[int] = Counter()
        for _ in range(EDEKS // 2 // 400):
            sent = {str(n): base64.b64encode(broken(chance, message)).decode() for n in range(400)}
            found = await api.ask("document/batch-unwrap", who, edeks=sent)
            assert found["keys"].keys() | found["failures"].keys() == sent.keys()
            for each, key in found["keys"].items():
                assert key["dek"] == made["dek"], f"FUZZ_SEED={SEED}: {sent[each]} gave another DEK"
            for each, fault in found["failures"].items():
                assert fault["code"] in (202, 203, 205), f"FUZZ_SEED={SEED}: {sent[each]} gave {fault}"
                seen[fault["code"]] += 1
        assert not api.errors
        return seen

    seen = asyncio.run(send())
    assert set(seen) == {202, 203, 205}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=400)
@given(
    name=st.sampled_from(sorted(ENDPOINTS)),
    changes=st.dictionaries(
        st.sampled_from(sorted({*COMMON, *(m for e in ENDPOINTS.values() for m in e)})), JSON, max_size=4
    ),
)
def test_json_of_any_shape_is_answered(make_api, name, changes):
    body = msgspec.json.encode(COMMON | ENDPOINTS[name] | changes)

    async def send():
        api = make_api()
        check(*await api.post(name, body), body)
        assert not api.errors

    asyncio.run(send())


@settings(max_examples=400)
@given(name=st.sampled_from(sorted(ENDPOINTS)), body=st.binary(max_size=200))
def test_bytes_of_any_kind_are_answered(make_api, name, body):
    async def send():
        api = make_api()
        check(*await api.post(name, body), body)
        assert not api.errors

    asyncio.run(send())
