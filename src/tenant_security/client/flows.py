"""Everything a client can do, as flows; both clients are this and a driver."""

from collections.abc import Sequence
from types import TracebackType
from typing import Final, Protocol, TypeVar

from tenant_security.client.batches import Batches
from tenant_security.client.cached_keys import CachedKeyLimits, KeyInHand
from tenant_security.client.connection import Connection, proxy_url
from tenant_security.client.deterministic import DeterministicFields
from tenant_security.client.document_keys import DocumentFormat
from tenant_security.client.documents import Documents
from tenant_security.client.events import SecurityEvent
from tenant_security.client.keys import Keys
from tenant_security.client.metadata import Metadata
from tenant_security.client.retry import RetryPolicy
from tenant_security.client.streams import Streams
from tenant_security.crypto.deterministic import FieldForm
from tenant_security.outbound.flow import Flow, together

T = TypeVar("T")

TIMEOUT_S: Final = 20.0
ATTEMPT_S: Final = 10.0
CONNECT_S: Final = 5.0
CONNECTIONS: Final = 32
_EVENTS_AT_ONCE: Final = 8


class SyncDriver(Protocol):
    """What a synchronous client runs its flows on."""

    def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        """Run a flow to its end."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class AsyncDriver(Protocol):
    """What an asynchronous client runs its flows on."""

    async def run(self, flow: Flow[T], *, deadline_s: float) -> T:
        """Run a flow to its end."""
        ...

    async def __aenter__(self) -> object:
        """Open it in the running loop."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give everything back."""
        ...


class ClientFlows:
    """The flows of one client."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        allow_insecure_http: bool,
        retry: RetryPolicy | None,
        document_format: DocumentFormat,
    ) -> None:
        address = proxy_url(url, allow_insecure_http=allow_insecure_http)
        self.keys = Keys(Connection(address, api_key, retry=retry or RetryPolicy()))
        self.documents = Documents(self.keys, document_format)
        self.batches = Batches(self.keys, self.documents, document_format)
        self.streams = Streams(self.keys, self.documents)

    def fields(self, form: FieldForm) -> DeterministicFields:
        """Flows over deterministic fields."""
        return DeterministicFields(self.keys, form)

    def cached_key(self, metadata: Metadata, edek: str | None, limits: CachedKeyLimits | None) -> Flow[KeyInHand]:
        """Get a key to keep."""
        key = yield from self.documents.key(metadata, edek)
        return KeyInHand(key, metadata, limits or CachedKeyLimits())

    def log_events(self, events: Sequence[SecurityEvent]) -> Flow[None]:
        """Report events side by side. Raises: the first fault, after all were tried."""
        for outcome in (yield from together([each.report(self.keys) for each in events], _EVENTS_AT_ONCE)):
            if isinstance(outcome, Exception):
                raise outcome
