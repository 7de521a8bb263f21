"""Names that look like settings and are none are told, not ignored."""

from tenant_security.proxy.settings import ProxySettings, unknown_settings
from tenant_security.service.settings import settings_of


def test_a_misspelt_setting_is_told():
    assert unknown_settings({"TSP_LEASE_SECOND": "1", "TSP_BIND_ADDRESS": "::", "PATH": "x"}) == ["TSP_LEASE_SECOND"]


def test_every_setting_is_known():
    assert unknown_settings({each.name: "x" for each in settings_of(ProxySettings)}) == []
