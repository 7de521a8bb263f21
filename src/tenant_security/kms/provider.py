"""What every KMS can do for us: wrap 32 bytes and unwrap them again."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from tenant_security.errors import Code, TenantSecurityError
from tenant_security.outbound.flow import Flow, Reason, UnreachableError

KEY_BYTES = 32


class KmsKey(Protocol):
    """One tenant's key at one KMS, ready to use.

    Both methods return flows; running a flow may raise TenantSecurityError 204-210, and UnreachableError where no
    answer came (the caller retries once and maps it to 208).
    """

    @property
    def provider(self) -> str:
        """The provider's name in metrics and logs: ``aws``, ``local``, ..."""

    def wrap(self, key: bytes) -> Flow[bytes]:
        """Wrap 32 bytes and return the KMS's blob as it stands in ``encryptedDekData``."""

    def unwrap(self, blob: bytes) -> Flow[bytes]:
        """Return the 32 bytes that :meth:`wrap` was given. The caller checks the length."""


class KmsContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider needs beside a tenant's configuration.

    Trust: a configuration that uses the proxy's own identity at a cloud is good only where ``vendor_owned`` is true;
    else any tenant could name another tenant's key and have us use it.
    """

    now: Callable[[], datetime]
    """The time in UTC, for signatures and the lives of tokens."""
    vendor_owned: bool = False
    """Whether the vendor, and not a tenant, owns the configuration."""
    identities: frozenset[str] = frozenset()
    """The providers at which the operator lets the vendor's configurations use the proxy's own identity."""
    environ: Mapping[str, str] = {}
    """The clouds' standard variables that say who this proxy itself is, such as ``AWS_WEB_IDENTITY_TOKEN_FILE``."""


class KmsFaultError(TenantSecurityError):
    """A KMS's refusal, in our code and words, with what the log needs to look it up at the provider.

    Trust: ``provider_code`` and ``request_id`` go to logs and metrics, never to the caller.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        provider: str,
        provider_code: str = "",
        request_id: str = "",
        retry_after_s: float | None = None,
        once_more: bool = False,
        listed: bool = True,
    ) -> None:
        super().__init__(code, message, retry_after_s=retry_after_s)
        self.provider = provider
        self.provider_code = provider_code
        self.request_id = request_id
        self.once_more = once_more
        """A fault on the provider's side (208) that one retry may heal."""
        self.listed = listed
        """Whether one of our tables knows the provider's code. An unlisted one is counted and logged."""


def unreachable(provider: str, cause: UnreachableError) -> KmsFaultError:
    """Say in our words that no usable answer came. Code 208."""
    return KmsFaultError(
        Code.KMS_UNREACHABLE,
        f"The tenant's KMS could not be reached: {cause.reason.value}.",
        provider=provider,
        provider_code=cause.reason.name,
        once_more=cause.reason is not Reason.REFUSED,
    )
