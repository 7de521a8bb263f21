"""Whom the application works for now: set once per request, read by what encrypts columns and fields.

It is a context variable: every thread and every task has its own, and what is set ends with the block.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from tenant_security.client.metadata import Metadata

_NOW: Final[ContextVar[Metadata | None]] = ContextVar("tenant_security_metadata", default=None)


class NoTenantError(RuntimeError):
    """Something was to be encrypted or decrypted, and nobody had said for whom."""


@contextmanager
def acting_for(metadata: Metadata) -> Iterator[Metadata]:
    """Work for a tenant while the block lasts; blocks may be nested."""
    token = _NOW.set(metadata)
    try:
        yield metadata
    finally:
        _NOW.reset(token)


def current_metadata() -> Metadata:
    """Whom the application works for now. Raises: NoTenantError."""
    metadata = _NOW.get()
    if metadata is None:
        raise NoTenantError(
            "nobody said whose key to use: work inside `with acting_for(Metadata(tenant_id, requesting_id=...))`"
        )
    return metadata
