from tenant_security.directory.tenants import EMPTY_DIRECTORY, Assignment, Tenant, TenantDirectory
from tenant_security.wire.kms_configs import KmsConfig


class Handle:
    """A config that is never opened."""

    version = 1
    fingerprint = bytes(32)

    def __init__(self, config_id: int) -> None:
        self.id = config_id

    def open(self) -> KmsConfig:
        raise AssertionError("no question that a directory answers opens a config")


def tenant(*assignments: Assignment) -> Tenant:
    return Tenant("t", 1, False, assignments)


def test_a_config_is_found_only_when_it_is_assigned() -> None:
    first, second = Assignment(Handle(5), True, True, False), Assignment(Handle(6), False, False, True)
    assert tenant(first, second).assignment(6) is second
    assert tenant(first, second).assignment(7) is None


def test_the_primary_is_none_when_it_is_disabled() -> None:
    other = Assignment(Handle(6), active=True, primary=False, leasing=False)
    disabled = Assignment(Handle(5), active=False, primary=True, leasing=False)
    assert tenant(other, disabled).primary is None
    enabled = Assignment(Handle(5), active=True, primary=True, leasing=False)
    assert tenant(other, enabled).primary is enabled
    assert tenant().primary is None


def test_a_tenant_has_active_configs_or_not() -> None:
    assert not tenant().has_active
    assert not tenant(Assignment(Handle(5), active=False, primary=True, leasing=False)).has_active
    assert tenant(Assignment(Handle(5), active=True, primary=False, leasing=False)).has_active


def test_the_empty_directory_is_empty_and_still_true() -> None:
    assert len(EMPTY_DIRECTORY) == 0
    assert EMPTY_DIRECTORY
    assert EMPTY_DIRECTORY.tenant("t") is None


def test_a_directory_prints_its_size_and_not_its_tenants() -> None:
    directory = TenantDirectory(tenants={"secret-name": tenant()}, vendor="acme", version=7)
    assert repr(directory) == "<TenantDirectory 'acme' version 7, 1 tenants>"
    assert list(directory) == [directory.tenants["secret-name"]]
