"""The config of a webhook. Source: docs/sinks.md, "Webhook"; the Standard Webhooks specification 1.0.0."""

import binascii
from typing import Final

from tenant_security.secret import Secret
from tenant_security.wire.addresses import address_with_path
from tenant_security.wire.sinks.members import JsonFormat, Name, SinkMembers, check_header

_PREFIX: Final = "whsec_"
_SHORTEST: Final = 24
_LONGEST: Final = 64


class WebhookSinkConfig(SinkMembers, frozen=True, tag="WEBHOOK", kw_only=True):
    """An address of the tenant's own that takes signed batches of events."""

    url: Name
    """Where batches are posted, such as ``https://hooks.acme.example/tenant-security``."""
    signing_secret: Secret[str]
    """24 to 64 random bytes in base64 that both sides know; ``whsec_`` may stand in front."""
    old_signing_secret: Secret[str] | None = None
    """The secret before, while receivers change over: batches are signed with both."""
    authorization: Secret[str] | None = None
    """What to send as the ``Authorization`` header, when something in front of the receiver asks for it."""
    format: JsonFormat = "native"

    def __post_init__(self) -> None:
        address_with_path(self.url, "url")
        signing_key(self.signing_secret, "signingSecret")
        if self.old_signing_secret is not None:
            signing_key(self.old_signing_secret, "oldSigningSecret")
        if self.authorization is not None:
            check_header(self.authorization, "authorization")


def signing_key(secret: Secret[str], member: str) -> Secret[bytes]:
    """Return the bytes to sign with. Raises: ValueError that names the member."""
    try:
        key = binascii.a2b_base64(secret.reveal().removeprefix(_PREFIX), strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{member} must be base64, with or without {_PREFIX} in front") from None
    if not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(f"{member} must hold {_SHORTEST} to {_LONGEST} bytes; make it with: openssl rand -base64 32")
    return Secret(key)
