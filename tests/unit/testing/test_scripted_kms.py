"""The scripted KMS of the kit."""

import asyncio

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.testing.clock import settle
from tenant_security.testing.scripted_kms import KmsCall, ScriptedKms
from tenant_security.testing.tenants import PlainConfig

CONFIG = PlainConfig(1)
KEY = bytes(range(32))


async def test_it_is_a_real_kms_that_counts():
    kms = ScriptedKms()
    reach = kms.as_proxy_calls_it()

    assert await reach.unwrap("t", CONFIG, await reach.wrap("t", CONFIG, KEY)) == KEY
    assert kms.calls == [KmsCall("wrap", "/1"), KmsCall("unwrap", "/1")]
    assert (kms.count(), kms.count("wrap")) == (2, 1)


async def test_it_keeps_callers_waiting_until_they_are_released():
    kms = ScriptedKms()
    reach = kms.as_proxy_calls_it()
    with kms.held():
        waiting = [asyncio.create_task(reach.wrap("t", CONFIG, KEY)) for _ in range(3)]
        await kms.arrived(3)
        await settle()
        assert not any(each.done() for each in waiting)
        assert kms.running == 3
    await asyncio.gather(*waiting)

    assert (kms.running, kms.most_running) == (0, 3)


@pytest.mark.parametrize("code", [code for code in Code if 204 <= code <= 210])
async def test_it_refuses_with_any_code_and_mends_itself(code):
    kms = ScriptedKms()
    reach = kms.as_proxy_calls_it()
    with kms.failing(code, only="wrap"), pytest.raises(TenantSecurityError) as caught:
        await reach.wrap("t", CONFIG, KEY)

    assert caught.value.code is code
    assert await reach.wrap("t", CONFIG, KEY)


async def test_it_fails_only_what_it_was_told_to():
    kms = ScriptedKms()
    reach = kms.as_proxy_calls_it()
    with kms.failing(Code.KMS_UNREACHABLE, only="unwrap"):
        blob = await reach.wrap("t", CONFIG, KEY)
        with pytest.raises(TenantSecurityError):
            await reach.unwrap("t", CONFIG, blob)


async def test_it_answers_nonsense():
    kms = ScriptedKms()
    reach = kms.as_proxy_calls_it()
    blob = await reach.wrap("t", CONFIG, KEY)
    kms.answer = b"short"

    with pytest.raises(TenantSecurityError) as caught:
        await reach.unwrap("t", CONFIG, blob)
    assert caught.value.code is Code.KMS_UNWRAP_FAILED
