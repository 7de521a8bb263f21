"""The OpenAPI document of the API, made from the very types that read and write it."""

from typing import Any, Final

import msgspec

from tenant_security import __version__
from tenant_security.crypto.derive import HASHES
from tenant_security.proxy.tenant_secrets import SECRET_TYPES
from tenant_security.wire import proxy_api
from tenant_security.wire.proxy_api import BASE_PATH

_REF: Final = "#/components/schemas/{name}"

_ENDPOINTS: Final[tuple[tuple[str, type, type | None, str, str], ...]] = (
    (
        "document/wrap",
        proxy_api.WrapRequest,
        proxy_api.WrapResponse,
        "Make a DEK and wrap it",
        "Wraps with the tenant's primary KMS configuration, or under its leased key.",
    ),
    (
        "document/unwrap",
        proxy_api.UnwrapRequest,
        proxy_api.UnwrapResponse,
        "Unwrap an EDEK",
        "Any active KMS configuration of the tenant unwraps.",
    ),
    (
        "document/batch-wrap",
        proxy_api.BatchWrapRequest,
        proxy_api.BatchWrapResponse,
        "Make and wrap many DEKs",
        "Every id comes back exactly once, in keys or in failures.",
    ),
    (
        "document/batch-unwrap",
        proxy_api.BatchUnwrapRequest,
        proxy_api.BatchUnwrapResponse,
        "Unwrap many EDEKs",
        "Every id comes back exactly once, in keys or in failures.",
    ),
    (
        "document/rekey",
        proxy_api.RekeyRequest,
        proxy_api.WrapResponse,
        "Wrap a DEK anew",
        "The same DEK, unwrapped for tenantId and wrapped with the primary KMS configuration of newTenantId.",
    ),
    (
        "document/report-operations",
        proxy_api.ReportOperationsRequest,
        None,
        "Report uses of cached DEKs",
        "Recorded for the tenant's audit; nothing is unwrapped.",
    ),
    (
        "key/derive-with-secret-path",
        proxy_api.DeriveRequest,
        proxy_api.DeriveResponse,
        "Derive keys from tenant secrets",
        "The current secret's key stands first; secrets are made on first use.",
    ),
    (
        "event/security-event",
        proxy_api.SecurityEventRequest,
        None,
        "Record a security event",
        "Succeeds for unknown tenants too: the event is only queued.",
    ),
)

_FAILURES: Final = {
    "400": "The body is not what this endpoint takes (102)",
    "401": "The API key is missing or wrong (101)",
    "408": "The request did not arrive in time (102)",
    "413": "The body is too large (102)",
    "422": "A fault of the tenant's configuration, its KMS or the EDEK (200-208, 210, 301, 401)",
    "429": "The tenant's KMS throttles (209)",
    "431": "The headers are too large (102)",
    "500": "An internal error (100)",
    "503": "Too many connections (100)",
}


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=name)}}}


def openapi_document() -> dict[str, Any]:
    """Return the document as plain data."""
    kinds = {each for _, request, response, _, _ in _ENDPOINTS for each in (request, response) if each is not None}
    kinds.add(proxy_api.ErrorResponse)
    _, schemas = msgspec.json.schema_components(sorted(kinds, key=lambda kind: kind.__name__), ref_template=_REF)
    # Plain text on the wire, so that another value is refused in our own words; here for those who read.
    derive = schemas[proxy_api.DeriveRequest.__name__]["properties"]
    derive["derivationType"]["enum"] = sorted(HASHES)
    derive["secretType"]["enum"] = sorted(SECRET_TYPES)
    failures = {
        status: {"description": text, "content": _content("ErrorResponse")} for status, text in _FAILURES.items()
    }
    paths = {}
    for path, request, response, summary, description in _ENDPOINTS:
        content = (
            _content(response.__name__) if response is not None else {"application/json": {"schema": {"type": "null"}}}
        )
        paths[BASE_PATH + path] = {
            "post": {
                "operationId": path.rpartition("/")[2],
                "summary": summary,
                "description": description,
                "requestBody": {"required": True, "content": _content(request.__name__)},
                "responses": {"200": {"description": "Done", "content": content}, **failures},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tenant Security Proxy",
            "version": __version__,
            "description": "Wraps, unwraps, rekeys and derives keys with each tenant's own KMS.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "apiKey": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "The word `cmk`, a space, and the API key.",
                }
            },
        },
    }
