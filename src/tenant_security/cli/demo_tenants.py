"""The demo's tenants: those of the published examples and, for conformance, of the published clients' test suites.

All of their keys are of the local KMS; the names only say which provider's place they take.
"""

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
