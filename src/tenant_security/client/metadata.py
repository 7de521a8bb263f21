"""Who asks, for which tenant, and what about: the proxy hands it to the tenant as part of its audit trail."""

from collections.abc import Mapping

import msgspec

from tenant_security.wire.proxy_api import IclFields


class Metadata(msgspec.Struct, frozen=True):
    """What every request says about itself.

    ``requesting_id`` is the user or service on whose behalf the application works. Everything but the first two is
    optional free text. All of it reaches the tenant's log: put no secret into it.
    """

    tenant_id: str
    requesting_id: str
    data_label: str | None = None
    """What kind of data this is about, such as ``PII``."""
    source_ip: str | None = None
    """Where the request of your user came from. Never parsed as an address."""
    object_id: str | None = None
    """The record that this is about."""
    request_id: str | None = None
    """Your own id of the request, to find it again in your logs."""
    custom_fields: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Anything else that the tenant should see."""

    def __post_init__(self) -> None:
        if not self.tenant_id or not self.requesting_id:
            raise ValueError("metadata needs the tenant's id and a requesting id, neither of them empty")

    def icl_fields(self, event: str | None = None) -> IclFields:
        """Return it as it goes over the wire."""
        return IclFields(self.requesting_id, self.data_label, self.source_ip, self.object_id, self.request_id, event)
