"""The client for applications: encrypts documents here and asks the proxy for their keys.

    from tenant_security.client import Metadata, TenantSecurityClient

Needs the base install only. May import ``outbound``, ``wire``, ``crypto``, ``errors`` and ``secret``; the integrations
import their frameworks. Everything public is named here.
"""

from tenant_security.client.async_client import (
    AsyncCachedKey,
    AsyncDeterministicClient,
    AsyncTenantSecurityClient,
)
from tenant_security.client.cached_keys import CachedKeyLimits
from tenant_security.client.deterministic import EncryptedField, Field
from tenant_security.client.document_keys import DocumentFormat
from tenant_security.client.documents import BatchResult, EncryptedDocument, EncryptedValue
from tenant_security.client.errors import (
    CachedKeyExpiredError,
    ClientCode,
    ClientError,
    DocumentError,
    KmsError,
    SecurityEventError,
    ServiceError,
    TenantSecretError,
    UnreachableProxyError,
    UnverifiedPlaintextError,
)
from tenant_security.client.events import (
    AdminEvent,
    CustomEvent,
    DataEvent,
    PeriodicEvent,
    SecurityEvent,
    UserEvent,
)
from tenant_security.client.metadata import Metadata
from tenant_security.client.pieces import DocumentDecryptor, DocumentEncryptor
from tenant_security.client.retry import RetryPolicy
from tenant_security.client.sync_client import CachedKey, DeterministicClient, TenantSecurityClient
from tenant_security.client.tenancy import NoTenantError, acting_for, current_metadata
from tenant_security.client.tls import tls_context
from tenant_security.crypto.deterministic import FieldForm
from tenant_security.errors import Code, Fixer

__all__ = [
    "AdminEvent",
    "AsyncCachedKey",
    "AsyncDeterministicClient",
    "AsyncTenantSecurityClient",
    "BatchResult",
    "CachedKey",
    "CachedKeyExpiredError",
    "CachedKeyLimits",
    "ClientCode",
    "ClientError",
    "Code",
    "CustomEvent",
    "DataEvent",
    "DeterministicClient",
    "DocumentDecryptor",
    "DocumentEncryptor",
    "DocumentError",
    "DocumentFormat",
    "EncryptedDocument",
    "EncryptedField",
    "EncryptedValue",
    "Field",
    "FieldForm",
    "Fixer",
    "KmsError",
    "Metadata",
    "NoTenantError",
    "PeriodicEvent",
    "RetryPolicy",
    "SecurityEvent",
    "SecurityEventError",
    "ServiceError",
    "TenantSecretError",
    "TenantSecurityClient",
    "UnreachableProxyError",
    "UnverifiedPlaintextError",
    "UserEvent",
    "acting_for",
    "current_metadata",
    "tls_context",
]
