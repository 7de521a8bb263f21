"""One question to the proxy and its answer, as a flow: the only module of the client that knows HTTP."""

import math
import random
import re
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from tenant_security import __version__
from tenant_security.client.errors import ClientError, error_of, unreachable
from tenant_security.client.retry import RetryPolicy
from tenant_security.errors import Code
from tenant_security.outbound.flow import Flow, Reason, Request, Response, UnreachableError, pause, send
from tenant_security.secret import Secret
from tenant_security.wire.proxy_api import BASE_PATH, ErrorResponse, RequestBody

T = TypeVar("T")

ANSWER_CAP_BYTES: Final = 64 * 1_048_576
_OK: Final = range(200, 300)
_UNAUTHORIZED: Final = 401
_KEY: Final = re.compile(r"[\x21-\x7e]+")
_WHY: Final = {
    Reason.NAME: "its name could not be resolved",
    Reason.CONNECT: "no connection could be made",
    Reason.TLS: "its TLS certificate was refused, or it refused ours",
    Reason.TIMEOUT: "it did not answer in time",
    Reason.RESET: "the connection broke, or what came was no HTTP",
    Reason.TOO_LARGE: "its answer was too large",
    Reason.REFUSED: "its address is not valid",
}


def proxy_url(url: str, *, allow_insecure_http: bool) -> str:
    """Check where the proxy is. Raises: ValueError that says what to write instead."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("the proxy's address is like https://proxy.example:7777")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("the proxy's address holds no user name, query or fragment")
    if parts.scheme == "http" and not allow_insecure_http:
        raise ValueError(
            "http:// would send the API key and every data key unencrypted: use https://, or say "
            "allow_insecure_http=True where nobody can listen, such as a sidecar on localhost"
        )
    return url.rstrip("/")


class Connection:
    """Where the proxy is and how it is asked. Holds no socket: its flows run on any driver."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        retry: RetryPolicy,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if _KEY.fullmatch(api_key) is None:
            raise ValueError("the API key is empty or holds characters that no API key has")
        self._base = url + BASE_PATH
        self._key = Secret(api_key)
        self._retry = retry
        self._chance = chance

    def ask(self, path: str, body: RequestBody, answer: type[T], *, repeatable: bool = True) -> Flow[T]:
        """Ask once, and again as the retry policy says. Raises: ClientError.

        ``repeatable`` says that the proxy may act on the same request twice without harm.
        """
        request = self._request(path, body)
        nth = 0
        while True:
            nth += 1
            try:
                response = yield from send(request)
            except UnreachableError as failure:
                wait_s = self._retry.wait_after_no_answer(failure.reason, nth, self._chance(), repeatable=repeatable)
                if wait_s is None:
                    raise unreachable(f"The proxy gave no answer: {_WHY[failure.reason]}") from None
                yield from pause(wait_s)
                continue
            if response.status in _OK:
                return _decode(response.body, answer)
            error = _error(response)
            wait_s = self._retry.wait_after_error(error, nth, self._chance(), repeatable=repeatable)
            if wait_s is None:
                raise error
            yield from pause(wait_s)

    def _request(self, path: str, body: RequestBody) -> Request:
        headers = (
            ("Authorization", f"cmk {self._key.reveal()}"),
            ("Content-Type", "application/json"),
            ("x-icl-tsc-language", "python"),
            ("x-icl-tsc-version", __version__),
        )
        return Request(
            "POST",
            self._base + path,
            headers,
            msgspec.json.encode(body),
            cap_bytes=ANSWER_CAP_BYTES,
            of_operator=True,
        )


def _decode(body: bytes, answer: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The cause is left behind: it could quote what the answer holds.
        raise error_of(
            Code.UNKNOWN_ERROR, "The proxy's answer was not understood: is this the address of a Tenant Security Proxy?"
        ) from None


def _error(response: Response) -> ClientError:
    retry_after_s = _seconds(response.headers.get("retry-after", ""))
    if response.status == _UNAUTHORIZED:
        said = "The proxy refused the API key: check that it is the API_KEY or API_KEY_2 that the proxy runs with"
        return error_of(Code.UNAUTHORIZED_REQUEST, said, http_status=response.status)
    try:
        told = msgspec.json.decode(response.body, type=ErrorResponse)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        told = ErrorResponse(Code.UNKNOWN_ERROR, f"The proxy, or something before it, answered HTTP {response.status}")
    return error_of(told.code, told.message, http_status=response.status, retry_after_s=retry_after_s)


def _seconds(text: str) -> float | None:
    """Read ``Retry-After`` where it is a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
