"""Whose config may use the identity of the proxy's own platform: the vendor's, and only where the operator says so."""

import json
from typing import NamedTuple

import pytest
import structlog

from tenant_security.errors import SettingsError, TenantSecurityError
from tenant_security.outbound.driver import Outbound
from tenant_security.outbound.flow import Request, Shared, finished
from tenant_security.proxy.kms_calls import KmsCalls
from tenant_security.proxy.settings import ProxySettings
from tenant_security.service.settings import read_settings
from tenant_security.testing.proxies import API_KEY
from tenant_security.wire.kms_configs import KmsConfig, decode_kms_config

AMBIENT = {"AWS_ACCESS_KEY_ID": "AKIDAMBIENT", "AWS_SECRET_ACCESS_KEY": "ambient-secret"}
OWN = {"workloadIdentity": True}
KEYS = {"accessKeyId": "AKIDTENANT", "secretAccessKey": "tenant-secret"}


class Sealed(NamedTuple):
    """A config that is only sealed by name. ``shared``: the vendor's own."""

    credentials: dict[str, object]
    shared: bool
    id: int = 1
    version: int = 1
    fingerprint: bytes = bytes(32)

    def open(self) -> KmsConfig:
        path = {"keyID": "alias/x", "region": "eu-central-1"}
        config = {"type": "AWS", "version": 1, "credentials": self.credentials, "keyPath": path}
        return decode_kms_config(json.dumps(config).encode())


@pytest.fixture
def calls(monkeypatch):
    for name, value in AMBIENT.items():
        monkeypatch.setenv(name, value)

    def make(own_identity: str) -> KmsCalls:
        environ = {"TSP_OWN_IDENTITY": own_identity, "API_KEY": API_KEY, "TSP_SNAPSHOT_FILE": "x"}
        settings = read_settings(ProxySettings, {name: value for name, value in environ.items() if value})
        return KmsCalls(
            settings,
            Outbound(),
            lambda _: None,
            structlog.get_logger(),
            None,
            note=lambda _: None,
            open_outbound=Outbound,
        )

    return make


def signer(calls: KmsCalls, sealed: Sealed) -> str:
    """Who signs the first request of a wrap."""
    flow = calls.opened.key("tenant", sealed).wrap(bytes(32))
    asked = flow.send(None)
    if isinstance(asked, Shared):
        asked = flow.send(finished(asked.make()).value)
    assert isinstance(asked, Request)
    return dict(asked.headers)["Authorization"].split("Credential=")[1].split("/")[0]


@pytest.mark.parametrize("own_identity", ["", "aws", "aws,azure,gcp,vault"])
def test_a_tenants_config_never_gets_it(calls, own_identity):
    with pytest.raises(TenantSecurityError, match="vendor's own"):
        calls(own_identity).opened.key("tenant", Sealed(OWN, shared=False))


@pytest.mark.parametrize("own_identity", ["", "azure,gcp"])
def test_the_vendors_config_does_not_get_it_unless_the_operator_allows_it(calls, own_identity):
    with pytest.raises(TenantSecurityError, match="TSP_OWN_IDENTITY=aws"):
        calls(own_identity).opened.key("tenant", Sealed(OWN, shared=True))


def test_the_vendors_config_gets_it_where_the_operator_allows_it(calls):
    assert signer(calls("aws"), Sealed(OWN, shared=True)) == "AKIDAMBIENT"


@pytest.mark.parametrize("shared", [False, True])
def test_a_config_with_keys_of_its_own_signs_with_them_whatever_lies_around(calls, shared):
    assert signer(calls("aws"), Sealed(KEYS, shared=shared)) == "AKIDTENANT"


@pytest.mark.parametrize("text", ["oracle", "aws;gcp", "*", "all", "local"])
def test_what_is_no_provider_is_refused_at_the_start(calls, text):
    with pytest.raises(SettingsError) as caught:
        calls(text)
    (problem,) = caught.value.problems
    assert "TSP_OWN_IDENTITY" in problem
    assert "aws, azure, gcp, vault" in problem
