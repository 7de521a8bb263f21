"""Real and rigged peers for the fault tests: a moto server that checks signatures, and a server that plays a script."""

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import boto3
import pytest
import uvloop

REGION = "eu-central-1"

Step = Callable[[asyncio.StreamWriter], Awaitable[None]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Faults are met on the loop that production runs on."""
    return {"uvloop": uvloop.new_event_loop}


class AccessKey(NamedTuple):
    user: str
    access_key_id: str
    secret_access_key: str


class Moto:
    """A running moto server that recomputes every signature and asks IAM for every action."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._names = iter(range(1_000_000))
        self._admin = AccessKey("", "setup", "setup")
        self._admin = self.user("*")
        request = urllib.request.Request(f"{url}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    @contextlib.contextmanager
    def client(self, service: str) -> Iterator[Any]:
        client = boto3.client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id=self._admin.access_key_id,
            aws_secret_access_key=self._admin.secret_access_key,
        )
        try:
            yield client
        finally:
            client.close()

    def user(self, *actions: str) -> AccessKey:
        """A user who may do these things, with an access key."""
        name = f"user-{next(self._names)}"
        with self.client("iam") as iam:
            iam.create_user(UserName=name)
            if actions:
                iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=self._policy(actions))
            key = iam.create_access_key(UserName=name)["AccessKey"]
        return AccessKey(name, key["AccessKeyId"], key["SecretAccessKey"])

    def revoke(self, key: AccessKey) -> None:
        with self.client("iam") as iam:
            iam.delete_access_key(UserName=key.user, AccessKeyId=key.access_key_id)

    def role(self, *actions: str) -> str:
        """The ARN of a role that may do these things."""
        name = f"role-{next(self._names)}"
        trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
        with self.client("iam") as iam:
            document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
            role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=self._policy(actions))
        return str(role["Arn"])

    def key(self) -> str:
        """The ARN of a new symmetric key."""
        with self.client("kms") as kms:
            return str(kms.create_key()["KeyMetadata"]["Arn"])

    @staticmethod
    def _policy(actions: tuple[str, ...]) -> str:
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            said = ""
            while (address := re.search(r"http://127\.0\.0\.1:\d+", said)) is None:
                line = server.stderr.readline()
                assert line, f"moto did not start: {said}"
                said += line
            # It logs every request; a pipe that nobody empties would stop it.
            threading.Thread(target=server.stderr.read, daemon=True).start()
            yield Moto(address.group())
        finally:
            server.terminate()


class Rigged:
    """A server that plays one step of its script per request, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[Step] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._talks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for talk in self._talks:
            talk.cancel()
        await asyncio.gather(*self._talks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = asyncio.get_running_loop().create_task(self._talk(reader, writer))
        self._talks.add(talk)
        talk.add_done_callback(self._talks.discard)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, OSError):
                while not writer.is_closing():
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    self.requests.append(await reader.readexactly(int(length[1]) if length else 0))
                    step = self.script[min(len(self.requests), len(self.script)) - 1]
                    await step(writer)
                    await writer.drain()
        finally:
            writer.close()


@pytest.fixture
async def rigged() -> AsyncIterator[Rigged]:
    server = Rigged()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
