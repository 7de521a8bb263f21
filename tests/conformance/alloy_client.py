"""Python Alloy with an HTTP client of ours beneath it, which also remembers what was sent."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from ironcore_alloy import (
    AlloyError,
    AlloyHttpClientHeaders,
    AlloyHttpClientResponse,
    HttpClient,
    SaasShield,
    SaasShieldConfiguration,
)

APPROXIMATION_FACTOR = 1.1


class RecordingHttp(HttpClient):
    """Posts JSON over aiohttp; ``sent`` holds each route and body in order."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def post_json(self, url: str, json_body: str, headers: AlloyHttpClientHeaders) -> AlloyHttpClientResponse:
        """Send one request. A transport error that is not translated would abort the Rust side."""
        self.sent.append((url.partition("/api/1/")[2], json.loads(json_body)))
        lines = {"Content-Type": headers.content_type, "Authorization": headers.authorization}
        try:
            async with self._session.post(url, data=json_body.encode(), headers=lines) as answer:
                return AlloyHttpClientResponse(json_body=await answer.text(), status_code=answer.status)
        except (aiohttp.ClientError, TimeoutError) as failure:
            raise AlloyError.RequestError(str(failure)) from failure


class Alloy:
    """The four clients of Alloy's SaaS Shield SDK, against one address."""

    def __init__(self, http: RecordingHttp, url: str, api_key: str, *, legacy: bool = False) -> None:
        shield = SaasShield(
            SaasShieldConfiguration(
                url,
                api_key,
                APPROXIMATION_FACTOR,
                http,
                legacy_tsc_write_format=legacy,
                allow_insecure_http=True,
            )
        )
        self.http = http
        self.standard = shield.standard()
        self.attached = shield.standard_attached()
        self.deterministic = shield.deterministic()
        self.vector = shield.vector()


@asynccontextmanager
async def alloy_at(url: str, api_key: str, *, legacy: bool = False) -> AsyncIterator[Alloy]:
    """Alloy with a connection pool that closes with the block."""
    async with aiohttp.ClientSession() as session:
        yield Alloy(RecordingHttp(session), url, api_key, legacy=legacy)
