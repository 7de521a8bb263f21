"""Events through a real NATS server with JetStream."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

import pytest

from tenant_security.testing.logdrivers import running_logdriver, webhook_receiver
from tenant_security.testing.proxies import TENANTS, publish, running_proxy

LEASED = "tenant-gcp-l"
pytestmark = pytest.mark.skipif(
    shutil.which("nats-server") is None and not os.environ.get("CI"), reason="needs nats-server (Debian: nats-server)"
)


@contextlib.contextmanager
def nats_server(directory, port):
    command = ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(directory / "jetstream")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                time.sleep(0.05)
            yield f"nats://127.0.0.1:{port}"
        finally:
            server.terminate()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


async def test_events_reach_the_siem_through_nats_and_survive_its_absence(tmp_path):
    port = free_port()
    settings = {"EVENT_TRANSPORT": f"nats://127.0.0.1:{port}"}
    async with running_proxy(tmp_path, settings=settings) as proxy, webhook_receiver() as siem:
        assert proxy.ports.events is None
        publish(tmp_path, TENANTS, sinks={LEASED: {600: siem.config()}})
        await proxy.call("document/wrap", LEASED)  # nobody listens yet
        with nats_server(tmp_path, port):
            async with running_logdriver(tmp_path, "tcp://127.0.0.1:1", settings | {"API_KEY": ""}) as logdriver:
                for _ in range(4):
                    await proxy.call("document/wrap", LEASED)
                await siem.until(lambda it: len(it.events) == 5)
                assert (await logdriver.check("proxies"))["status"] == "UP"
    assert [each["sequence"] for each in siem.events] == [1, 2, 3, 4, 5]
