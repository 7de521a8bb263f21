"""The demo's tenants: those of the published examples and, for conformance, of the published clients' test suites.

Their names say which provider's key they use. The local KMS takes its place unless a fake of that provider runs.
"""

from collections.abc import Collection
from typing import Final, NamedTuple


class Use(NamedTuple):
    """One config of a tenant."""

    config: int
    primary: bool = True
    active: bool = True
    leasing: bool = False


EXAMPLES: Final[dict[str, tuple[Use, ...]]] = {
    "tenant-gcp": (Use(510),),
    "tenant-gcp-l": (Use(511, leasing=True),),
    "tenant-aws": (Use(512),),
    "tenant-aws-l": (Use(513, leasing=True),),
    "tenant-azure": (Use(514),),
    "tenant-azure-l": (Use(515, leasing=True),),
}

CONFORMANCE: Final[dict[str, tuple[Use, ...]]] = {
    **EXAMPLES,
    "INTEGRATION-TEST-GCP": (Use(534),),
    "INTEGRATION-TEST-AWS": (Use(535),),
    "INTEGRATION-TEST-AZURE": (Use(543),),
    "INTEGRATION-TEST-COMBO": (Use(538, primary=False), Use(544, primary=False, active=False)),
    "notes-demo-1": (Use(561, leasing=True),),
    "notes-demo-2": (Use(562, leasing=True),),
}


ON_FAKES: Final[dict[str, dict[str, tuple[Use, ...]]]] = {
    "thales": {"tenant-thales": (Use(516),), "tenant-thales-l": (Use(517, leasing=True),)},
    "vault": {"tenant-vault": (Use(518),), "tenant-vault-l": (Use(519, leasing=True),)},
}
"""Who is there only while a fake of the provider runs."""


def demo_tenants(seed: str, faked: Collection[str]) -> dict[str, tuple[Use, ...]]:
    """Return who is in the demo while these providers are faked."""
    tenants = dict(CONFORMANCE if seed == "conformance" else EXAMPLES)
    for provider, more in ON_FAKES.items():
        if provider in faked:
            tenants |= more
    return tenants


def provider_of(tenant: str) -> str:
    """Return the provider of a tenant like ``tenant-gcp-l``: ``gcp``.

    Empty for those of the published clients' test suites: their secrets must exist beforehand, in the local KMS.
    """
    first, _, rest = tenant.partition("-")
    return rest.partition("-")[0] if first == "tenant" else ""


class DemoSecret(NamedTuple):
    """One tenant secret that must exist beforehand, in this rotation state, wrapped with this config."""

    tenant: str
    config: int
    path: str
    rotation: str


SECRETS: Final = (
    DemoSecret("INTEGRATION-TEST-GCP", 534, "foo", "archived"),
    DemoSecret("INTEGRATION-TEST-GCP", 534, "foo", "in-rotation"),
    DemoSecret("INTEGRATION-TEST-GCP", 534, "foo", "current"),
    DemoSecret("INTEGRATION-TEST-GCP", 534, "rotation-started", "in-rotation"),
    DemoSecret("INTEGRATION-TEST-GCP", 534, "rotation-started", "current"),
    DemoSecret("INTEGRATION-TEST-GCP", 534, "not-rotated", "current"),
    DemoSecret("INTEGRATION-TEST-COMBO", 538, "path2", "current"),
)
