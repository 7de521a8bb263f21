"""Azure's clouds: which vaults belong to which, and where one signs in to use them.

A vault's address is written by the tenant and ends up in a request that carries a token, so it is held to the
suffixes below: nobody but Microsoft can answer under them.

Source: Azure Key Vault, "About keys, secrets and certificates", the suffixes per cloud; Microsoft identity platform,
"National clouds"; tests compare the login hosts with those of MSAL and azure-identity.
"""

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from tenant_security.kms import refusals
from tenant_security.kms.provider import KmsFaultError
from tenant_security.kms.refusals import Provider
from tenant_security.outbound.entra import CHINA, PUBLIC, US_GOVERNMENT

PROVIDER: Final = Provider("azure", "Azure")


class Cloud(NamedTuple):
    """One service in one cloud. ``suffix`` ends its hosts; ``audience`` is what a token must be for."""

    suffix: str
    login_host: str
    audience: str
    is_managed_hsm: bool

    @property
    def scope(self) -> str:
        """What to ask a token for."""
        return f"{self.audience}/.default"


CLOUDS: Final = (
    Cloud("vault.azure.net", PUBLIC, "https://vault.azure.net", is_managed_hsm=False),
    Cloud("managedhsm.azure.net", PUBLIC, "https://managedhsm.azure.net", is_managed_hsm=True),
    Cloud("vault.azure.cn", CHINA, "https://vault.azure.cn", is_managed_hsm=False),
    Cloud("managedhsm.azure.cn", CHINA, "https://managedhsm.azure.cn", is_managed_hsm=True),
    Cloud("vault.usgovcloudapi.net", US_GOVERNMENT, "https://vault.usgovcloudapi.net", is_managed_hsm=False),
    Cloud("managedhsm.usgovcloudapi.net", US_GOVERNMENT, "https://managedhsm.usgovcloudapi.net", is_managed_hsm=True),
)
"""Every cloud that sells to the public, and its Managed HSM."""

# 3 to 24 letters, digits and single hyphens, a letter first, no hyphen last. Source: Azure's naming rules.
_VAULT_NAME: Final = re.compile(r"(?=.{3,24}\Z)[a-z](-?[a-z0-9])*")
_HTTPS_PORT: Final = 443


class Vault(NamedTuple):
    """One vault or Managed HSM. ``host`` is its full name in lower case."""

    host: str
    cloud: Cloud


def invalid(what: str) -> KmsFaultError:
    """Say what is wrong with the configuration itself. Code 207."""
    return refusals.invalid(PROVIDER, what)


def read_vault(address: str) -> Vault:
    """Read ``keyPath.vaultBaseUrl``.

    Raises: KmsFaultError 207 unless it is ``https://<name>.<suffix>`` with a suffix of one of the clouds.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise invalid("keyPath.vaultBaseUrl is not an address") from None
    # urlsplit drops tabs and line breaks silently, hence the look at the text itself.
    if (
        parts.scheme != "https"
        or not address.isascii()
        or not address.isprintable()
        or parts.username is not None
        or port not in (None, _HTTPS_PORT)
        or parts.path not in ("", "/")
        or "?" in address
        or "#" in address
    ):
        raise invalid("keyPath.vaultBaseUrl must have the form https://NAME.vault.azure.net")
    name, _, suffix = (parts.hostname or "").partition(".")
    cloud = next((cloud for cloud in CLOUDS if cloud.suffix == suffix), None)
    if cloud is None or not _VAULT_NAME.fullmatch(name):
        suffixes = ", ".join(f".{cloud.suffix}" for cloud in CLOUDS)
        raise invalid(f"keyPath.vaultBaseUrl does not name a vault: it must end in one of {suffixes}")
    return Vault(f"{name}.{suffix}", cloud)
