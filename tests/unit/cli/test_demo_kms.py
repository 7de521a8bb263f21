"""The demo's KMSs: each fake gives a config that works, through the proxy's own way out."""

import sys
from datetime import UTC, datetime

import pytest

from tenant_security.cli.demo_kms import LOCAL_ONLY, PROVIDERS, demo_kms, read_kms_option
from tenant_security.cli.demo_tenants import EXAMPLES, ON_FAKES, demo_tenants, provider_of
from tenant_security.errors import SettingsError
from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext
from tenant_security.outbound.driver import Outbound, OutboundLimits
from tenant_security.outbound.egress import read_allowed
from tenant_security.wire.kms_configs import decode_kms_config

DEK = bytes(range(32))
LOOPBACK = read_allowed("127.0.0.0/8")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_every_fake_wraps_and_unwraps(provider):
    with demo_kms([provider]) as kms:
        config = decode_kms_config(kms.configs[provider])
        key = open_key(config, KmsContext(now=lambda: datetime.now(UTC)))
        assert key.provider == provider
        async with kms.outbound(OutboundLimits(attempt_s=20), egress=LOOPBACK) as outbound:
            blob = await outbound.run(key.wrap(DEK), deadline_s=30)
            assert await outbound.run(key.unwrap(blob), deadline_s=30) == DEK


@pytest.mark.parametrize(
    ("text", "providers"),
    [
        ("local", ()),
        ("", ()),
        ("fake-gcp", ("gcp",)),
        ("fake-aws, fake-gcp,fake-aws", ("aws", "gcp")),
        ("local,fake-vault", ("vault",)),
    ],
)
def test_the_option_is_read(text, providers):
    assert read_kms_option(text) == providers


@pytest.mark.parametrize("text", ["gcp", "fake-", "fake-oracle", "aws,fake-gcp"])
def test_what_is_no_kms_is_told(text):
    with pytest.raises(SettingsError, match="fake-aws, fake-azure"):
        read_kms_option(text)


@pytest.mark.parametrize(
    ("provider", "module", "needed"),
    [("aws", "moto.server", "moto"), ("gcp", "tenant_security.testing.fakes.gcp", "tenant-security")],
)
def test_what_is_not_installed_is_told(monkeypatch, provider, module, needed):
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(SettingsError, match=f"pip install '{needed}"), demo_kms([provider]):
        pass


def test_without_fakes_the_way_out_is_the_usual_one():
    assert type(LOCAL_ONLY.outbound(OutboundLimits(), egress=LOOPBACK)) is Outbound


def test_tenants_of_a_fake_are_there_while_it_runs():
    assert demo_tenants("demo", ()) == EXAMPLES
    assert demo_tenants("demo", ("thales",)).keys() - EXAMPLES.keys() == ON_FAKES["thales"].keys()
    assert {provider_of(each) for each in demo_tenants("demo", PROVIDERS)} == set(PROVIDERS)
    assert provider_of("INTEGRATION-TEST-GCP") == ""
