"""A DEK stays itself whatever way it takes: leased, unleased, alone, in a batch, from process to process."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

WHO = st.sampled_from(["plain", "leased", ""])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("rekey"), WHO),
        st.tuples(st.sampled_from(["restart", "unwrap", "unwrap in a batch", "unwrap as an array"]), st.just("")),
    ),
    max_size=12,
)


@settings(max_examples=300)
@given(who=WHO, batched=st.booleans(), steps=STEPS)
def test_a_dek_stays_itself_whatever_way_it_takes(make_api, who, batched, steps):
    async def go():
        api = make_api()
        if batched:
            made = (await api.ask("document/batch-wrap", who, documentIds=["other", "this"]))["keys"]["this"]
        else:
            made = await api.ask("document/wrap", who)
        dek, text, holder = made["dek"], made["edek"], who
        for step, target in [*steps, ("unwrap", "")]:
            match step:
                case "restart":
                    api = make_api()
                case "rekey":
                    moved = await api.ask("document/rekey", holder, encryptedDocumentKey=text, newTenantId=target)
                    assert moved["dek"] == dek
                    assert moved["edek"] != text
                    text, holder = moved["edek"], target
                case "unwrap":
                    assert await api.ask("document/unwrap", holder, encryptedDocumentKey=text) == {"dek": dek}
                case "unwrap in a batch":
                    found = await api.ask("document/batch-unwrap", holder, edeks={"x": text, "junk": "AAAA"})
                    assert found["keys"] == {"x": {"dek": dek}}
                    assert found["failures"].keys() == {"junk"}
                case "unwrap as an array":
                    found = await api.ask("document/batch-unwrap", holder, edeks=[text, text])
                    assert found == {"keys": {"0": {"dek": dek}, "1": {"dek": dek}}, "failures": {}}

    asyncio.run(go())
