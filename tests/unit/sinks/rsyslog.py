"""A real rsyslog that takes syslog over TLS and RELP over TLS, and writes what it got as lines of JSON."""

import asyncio
import contextlib
import json
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import trustme

DAEMON = shutil.which("rsyslogd") or ("/usr/sbin/rsyslogd" if Path("/usr/sbin/rsyslogd").exists() else None)
MODULES = Path("/usr/lib/x86_64-linux-gnu/rsyslog")
MISSING = [name for name in ("lmnsd_ossl.so", "imrelp.so") if not (MODULES / name).exists()] if DAEMON else ["rsyslogd"]

CONFIG = """
global(workDirectory="{dir}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"
  defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{dir}/ca.pem"
  defaultNetstreamDriverCertFile="{dir}/cert.pem" defaultNetstreamDriverKeyFile="{dir}/key.pem")
module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="{mode}"
  permittedPeer=["logdriver.acme.example"])
module(load="imrelp" tls.tlslib="openssl")
template(name="json" type="list") {{
  constant(value="{{") property(name="msg" format="jsonf") constant(value=",") property(name="hostname" format="jsonf")
  constant(value=",") property(name="app-name" format="jsonf") constant(value=",") property(name="msgid" format="jsonf")
  constant(value=",") property(name="procid" format="jsonf") constant(value=",")
  property(name="structured-data" format="jsonf") constant(value=",") property(name="pri" format="jsonf")
  constant(value="}}\\n")
}}
ruleset(name="write") {{ action(type="omfile" file="{dir}/out.jsonl" template="json" flushOnTXEnd="on") }}
input(type="imtcp" port="{syslog}" address="127.0.0.1" ruleset="write")
input(type="imrelp" port="{relp}" address="127.0.0.1" ruleset="write" maxDataSize="64k" tls="on" tls.authMode="name"
  tls.permittedPeer=["logdriver.acme.example"] tls.caCert="{dir}/ca.pem" tls.myCert="{dir}/cert.pem"
  tls.myPrivKey="{dir}/key.pem")
"""


class Rsyslog:
    """One daemon. ``certificate`` and ``key`` are of a client that it takes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.syslog_port, self.relp_port = free_port(), free_port()
        self._authority = trustme.CA()
        own = self._authority.issue_cert("localhost")
        client = self._authority.issue_cert("logdriver.acme.example", common_name="logdriver.acme.example")
        self.authority = self._authority.cert_pem.bytes().decode()
        self.certificate = client.cert_chain_pems[0].bytes().decode()
        self.key = client.private_key_pem.bytes().decode()
        (directory / "ca.pem").write_text(self.authority)
        (directory / "cert.pem").write_bytes(own.cert_chain_pems[0].bytes())
        (directory / "key.pem").write_bytes(own.private_key_pem.bytes())
        self._daemon: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        assert DAEMON is not None
        config = self.directory / "rsyslog.conf"
        config.write_text(
            CONFIG.format(dir=self.directory, syslog=self.syslog_port, relp=self.relp_port, mode="x509/name")
        )
        with (self.directory / "stderr").open("wb") as errors:
            self._daemon = await asyncio.create_subprocess_exec(
                DAEMON,
                "-n",
                "-f",
                str(config),
                "-i",
                str(self.directory / "pid"),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
            )
        async with asyncio.timeout(20):
            for port in (self.syslog_port, self.relp_port):
                await listening(port)

    async def stop(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            await self._daemon.wait()
            self._daemon = None

    async def lines(self, count: int) -> list[dict[str, str]]:
        """What it has written, as soon as so many lines are there."""
        path = self.directory / "out.jsonl"
        async with asyncio.timeout(20):
            while not path.exists() or path.read_bytes().count(b"\n") < count:
                await asyncio.sleep(0.02)
        return [json.loads(line) for line in path.read_text().splitlines()]


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


async def listening(port: int) -> None:
    while True:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(directory: Path) -> AsyncIterator[Rsyslog]:
    daemon = Rsyslog(directory)
    try:
        await daemon.start()
        yield daemon
    finally:
        await daemon.stop()
