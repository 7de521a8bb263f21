"""Where Google lives: the public addresses, and the one that a tenant may write in place of Cloud KMS's.

Only Cloud KMS has such a place: whoever is asked for a token is always Google, or what the operator names.
"""

import re
from typing import Final

from tenant_security.kms import refusals
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Provider
from tenant_security.wire.kms.gcp import GcpKeyPath

PROVIDER: Final = Provider("gcp", "Google Cloud")

KMS: Final = "https://cloudkms.googleapis.com/"
IAM_CREDENTIALS: Final = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
METADATA_HOST: Final = "metadata.google.internal"

KMS_SCOPE: Final = "https://www.googleapis.com/auth/cloudkms"
"""What our tokens are good for: Cloud KMS and nothing else."""
PLATFORM_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""What a token must be good for that is only used to act as a service account."""

_HOST: Final = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_OWN: Final = re.compile(rf"(?:https://{_HOST}|http://(?:localhost|127\.0\.0\.1))(?::[0-9]{{1,5}})?/?", re.ASCII)
_GOOGLES: Final = re.compile(r"https://[a-z0-9.-]{1,230}\.googleapis\.com/", re.ASCII)

_VERSION: Final = re.compile(r"projects/([^/]+)/(.+)/cryptoKeyVersions/[0-9]{1,20}", re.ASCII)


def invalid(what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    return refusals.invalid(PROVIDER, what)


def own_endpoint(address: str) -> str:
    """Check the address that a config gives instead of the public one: https, or http to this very machine.

    Raises: KmsFaultError 207.
    """
    if not _OWN.fullmatch(address):
        raise invalid("endpoint must have the form https://host or https://host:port")
    return address if address.endswith("/") else address + "/"


def is_googles(endpoint: str) -> bool:
    """Whether an address is certainly Google's own. Trust: the proxy's own tokens go to no other."""
    return _GOOGLES.fullmatch(endpoint) is not None


def key_name(path: GcpKeyPath) -> str:
    """The key's resource name, such as ``projects/p/locations/l/keyRings/r/cryptoKeys/k``."""
    ring = f"projects/{path.project_id}/locations/{path.location_id}/keyRings/{path.key_ring_id}"
    return f"{ring}/cryptoKeys/{path.crypto_key_id}"


def is_version_of(answered: str, name: str) -> bool:
    """Whether a key version's resource name belongs to this key.

    Shape: ``<key's name>/cryptoKeyVersions/<number>``. A project may be named by its id or by its number, and which of
    them answers is Google's choice, so the project is left out where one of them is a number.
    """
    version = _VERSION.fullmatch(answered)
    _, project, within = name.split("/", 2)
    return (
        version is not None
        and version[2] == within
        and (version[1] == project or version[1].isdigit() or project.isdigit())
    )
