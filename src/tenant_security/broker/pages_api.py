"""Every path that is no API: the web app."""

from typing import Any, Final

from litestar import Response, get
from litestar.params import FromPath

from tenant_security.broker.http import Asked, GivenBroker
from tenant_security.broker.refusals import NotFoundError

_NOT_BUILT: Final = (
    "The broker runs, and its API answers. The web app is not part of this installation: "
    "build it with 'npm ci' and 'npm run build' in web/, then start the broker again.\n"
)


@get(["/", "/{path:path}"], include_in_schema=False, sync_to_thread=False)
def page(request: Asked, broker: GivenBroker, path: FromPath[str] = "/") -> Response[Any]:
    """Send a file of the web app."""
    pages = broker.web.pages
    if not pages.built:
        return Response(_NOT_BUILT, status_code=503, media_type="text/plain", headers={"Cache-Control": "no-store"})
    found = pages.find(path)
    if found is None:
        raise NotFoundError("there is no such page")
    headers = {"ETag": found.tag, "Cache-Control": found.keep, "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(None, status_code=304, headers=headers)
    if found.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, media_type=found.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(found.body, media_type=found.media_type, headers=headers)
