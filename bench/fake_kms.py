"""A KMS that answers Encrypt after a while with the same blob, cheaply enough to be held ten thousand times at once.

Run as ``python -m bench.fake_kms PORT DELAY_S [CERTIFICATE KEY]``.
"""

import asyncio
import base64
import json
import ssl
import sys
from typing import Any

import httptools
import uvloop

KEY_ID = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
_BODY = json.dumps(
    {
        "CiphertextBlob": base64.b64encode(b"\x01\x02\x02\x00\x78" + bytes(range(179))).decode("ascii"),
        "KeyId": KEY_ID,
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
    }
).encode()
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nx-amzn-RequestId: bench\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class FakeKms(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        """Keep the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a request."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer it, now or later."""
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(_ANSWER)


async def _serve(port: int, delay_s: float, context: ssl.SSLContext | None) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: FakeKms(delay_s), "127.0.0.1", port, ssl=context, backlog=16_384)
    await server.serve_forever()


def main() -> None:
    """Serve until ended."""
    port, delay_s, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(int(port), float(delay_s), context))


if __name__ == "__main__":
    main()
