"""The config of a key in a Thales CipherTrust Manager. Source: docs/kms/thales.md."""

from typing import Annotated

import msgspec

from tenant_security.secret import Secret
from tenant_security.wire.kms.authorities import check_authorities
from tenant_security.wire.kms.members import Name

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
"""A name of CipherTrust Manager's: it travels in request bodies only."""
KeyId = Annotated[str, msgspec.Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x20\x7f]+\Z")]
"""A key's id or name. It travels in request bodies only."""


class ThalesCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A user of CipherTrust Manager, where the user is known, and where its keys are."""

    username: Text
    """The user's name."""
    password: Secret[str]
    """The user's password."""
    auth_domain: Text = "root"
    """The domain in which the user lives."""
    connection: Text = "local_account"
    """What knows the user: CipherTrust Manager itself, or the name of an LDAP or OIDC connection."""
    domain: Text | None = None
    """The domain in which the key lives, when it is another than ``authDomain``."""


class ThalesKeyPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """``keyId`` (or ``keyID``): the key's id or name; ``serviceUrl``: such as ``https://ciphertrust.acme.example``."""

    key_id: KeyId
    service_url: Name


class ThalesKmsConfig(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", tag_field="type", tag="THALES"
):
    """An AES key of a CipherTrust Manager."""

    version: int
    credentials: ThalesCredentials
    key_path: ThalesKeyPath
    ca_certificate: str | None = None
    """The private authorities that alone vouch for ``serviceUrl``, in PEM; the public ones when absent."""

    def __post_init__(self) -> None:
        if self.ca_certificate is not None:
            check_authorities(self.ca_certificate, "caCertificate")
