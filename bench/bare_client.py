"""The yardstick for unleased wraps: a bare aiohttp client that makes the same signed call, and nothing else.

It signs as botocore's own users do, so that what our signer saves does not move the yardstick.

Run as ``python -m bench.bare_client URL CALLS AT_ONCE``; prints the CPU microseconds of one call.
"""

import asyncio
import base64
import json
import os
import resource
import sys

import aiohttp
import uvloop
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from bench.fake_kms import KEY_ID


def _request(url: str) -> AWSRequest:
    body = json.dumps({"KeyId": KEY_ID, "Plaintext": base64.b64encode(os.urandom(32)).decode("ascii")}).encode()
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "TrentService.Encrypt"}
    request = AWSRequest("POST", url, headers, body)
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None)
    SigV4Auth(credentials, "kms", "eu-central-1").add_auth(request)
    return request


async def _calls(url: str, count: int, at_once: int) -> float:
    left = iter(range(count))

    async def worker(session: aiohttp.ClientSession) -> None:
        for _ in left:
            request = _request(url)
            async with session.post(url, data=request.data, headers=dict(request.headers)) as answer:
                json.loads(await answer.read())

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for _ in range(at_once):
            async with session.post(url, data=b"{}") as answer:
                await answer.read()
        before = resource.getrusage(resource.RUSAGE_SELF)
        await asyncio.gather(*(worker(session) for _ in range(at_once)))
        after = resource.getrusage(resource.RUSAGE_SELF)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / count * 1e6


def main() -> None:
    """Measure and print."""
    url, count, at_once = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.stdout.write(f"{runner.run(_calls(url, int(count), int(at_once))):.1f}\n")


if __name__ == "__main__":
    main()
