"""One HTTP exchange: where it goes, what is sent, what is read of the answer, and why there was none."""

import asyncio
import ipaddress
import ssl
from pathlib import Path
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from tenant_security.outbound.egress import EgressPolicy, NotAllowedError
from tenant_security.outbound.flow import Reason, Request, Response, UnreachableError

_OK: Final = 200
_PIECE_BYTES: Final = 256 * 1024


class CannotWriteError(Exception):
    """Our own disk failed, and not the peer."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def exchange(
    session: aiohttp.ClientSession,
    request: Request,
    url: URL,
    tls: ssl.SSLContext | None,
    into: Path | None,
    *,
    through: str | None = None,
) -> Response:
    """Send a request and read the response. A redirect is a response.

    ``tls``: what to verify the peer by, when not by what the session does. ``into``: where a good body goes.
    ``through``: the HTTP proxy to go through.

    Raises: UnreachableError TOO_LARGE; CannotWriteError; aiohttp.ClientError; OSError; UnicodeError.
    """
    async with session.request(
        request.method,
        url,
        headers=CIMultiDict(request.headers),
        data=request.body or None,
        allow_redirects=False,
        ssl=tls or True,
        proxy=through,
    ) as response:
        body = b""
        if into is None or response.status != _OK:
            body = await _read_body(response, request.cap_bytes)
        else:
            await _write_body(response, request.cap_bytes, into)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, headers, body)


async def _read_body(response: aiohttp.ClientResponse, cap_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > cap_bytes:
            response.close()
            raise UnreachableError(Reason.TOO_LARGE)
    return bytes(body)


async def _write_body(response: aiohttp.ClientResponse, cap_bytes: int, into: Path) -> None:
    """Write the body in pieces, in a thread: a disk must not hold up the loop, nor a body fill the memory."""
    left = cap_bytes
    try:
        with await asyncio.to_thread(into.open, "wb") as file:
            async for chunk in response.content.iter_chunked(_PIECE_BYTES):
                left -= len(chunk)
                if left < 0:
                    response.close()
                    raise UnreachableError(Reason.TOO_LARGE)
                await asyncio.to_thread(file.write, chunk)
    except OSError as failure:
        if isinstance(failure, aiohttp.ClientError | TimeoutError):
            raise
        raise CannotWriteError(failure) from None


def address_of(text: str) -> URL:
    """Read an address as it stands: a signed one must go out as it was signed. Raises: UnreachableError."""
    try:
        url = URL(text, encoded=True)
        port = url.port
    except ValueError:
        raise UnreachableError(Reason.REFUSED) from None
    if url.scheme not in {"http", "https"} or not url.host or port is None:
        raise UnreachableError(Reason.REFUSED)
    return url


def hold_to(policy: EgressPolicy, url: URL, text: str) -> None:
    """Judge where a request would go: ``url`` is how it will be understood, ``text`` what was written.

    Raises: NotAllowedError.
    """
    target = policy.target_of(text)
    host: object = (url.raw_host or "").lower()
    if target.address is not None:
        try:
            host = ipaddress.ip_address(str(host))
        except ValueError:
            host = None
    # Two readers of addresses that disagree are how such rules are got around.
    if (host, url.port) != (target.host if target.address is None else target.address, target.port):
        raise NotAllowedError("the address can be read in more than one way")


def reason_of(failure: Exception) -> Reason:  # noqa: PLR0911 - one line for each kind
    """Say which kind of failure this was. The order matters: the classes overlap."""
    match failure:
        case NotAllowedError() | aiohttp.ClientConnectorError(os_error=NotAllowedError()):
            return Reason.REFUSED
        case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
            return Reason.REFUSED
        case aiohttp.ClientConnectorDNSError() | UnicodeError():
            return Reason.NAME
        case (
            aiohttp.ClientSSLError()
            | aiohttp.ClientConnectorCertificateError()
            | aiohttp.ServerFingerprintMismatch()
            | ssl.SSLError()
        ):
            return Reason.TLS
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Reason.CONNECT
        case TimeoutError():
            return Reason.TIMEOUT
        case _:
            return Reason.RESET
