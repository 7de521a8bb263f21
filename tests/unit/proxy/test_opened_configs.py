"""KMS keys opened from their configs."""

from collections import Counter

import pytest

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.kms.local import LocalKmsKey
from tenant_security.proxy.opened_configs import OpenedConfigs
from tenant_security.testing.tenants import PlainConfig


class Opener:
    def __init__(self):
        self.opened = Counter()

    def __call__(self, sealed):
        config = sealed.open()
        self.opened[config.key_path.key_id, config.version] += 1
        return LocalKmsKey(config)


def test_a_config_is_opened_once_and_kept():
    opener = Opener()
    opened = OpenedConfigs(opener)
    config = PlainConfig(1)

    assert opened.key("t", config) is opened.key("t", PlainConfig(1))
    assert opener.opened.total() == 1


def test_a_changed_config_is_another():
    opener = Opener()
    opened = OpenedConfigs(opener)

    assert opened.key("t", PlainConfig(1)) is not opened.key("t", PlainConfig(1, version=2))
    assert opener.opened == {("/1", 1): 1, ("/1", 2): 1}


def test_only_so_many_stay_open_and_the_least_recently_used_goes():
    opener = Opener()
    opened = OpenedConfigs(opener, most=2)
    for number in (1, 2, 1, 3, 1):
        opened.key("t", PlainConfig(number))

    assert len(opened) == 2
    assert opener.opened == {("/1", 1): 1, ("/2", 1): 1, ("/3", 1): 1}
    opened.key("t", PlainConfig(2))
    assert opener.opened["/2", 1] == 2


def test_what_is_not_wanted_any_more_is_forgotten():
    opener = Opener()
    opened = OpenedConfigs(opener)
    for number in (1, 2, 3):
        opened.key("t", PlainConfig(number))
    opened.retain(lambda tenant_id, fingerprint: (tenant_id, fingerprint) == ("t", PlainConfig(2).fingerprint))

    assert len(opened) == 1
    opened.key("t", PlainConfig(2))
    assert opener.opened["/2", 1] == 1


def test_a_config_that_cannot_be_opened_is_not_kept():
    def refuse(_):
        raise TenantSecurityError(Code.KMS_CONFIGURATION_INVALID, "no")

    opened = OpenedConfigs(refuse)
    with pytest.raises(TenantSecurityError):
        opened.key("t", PlainConfig(1))
    assert len(opened) == 0
