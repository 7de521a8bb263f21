"""What the test kit's fakes promise those who use them."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from tenant_security.testing.fakes.azure import FakeAzure
from tenant_security.testing.fakes.gcp import FakeGcp
from tenant_security.testing.fakes.hosted import hosted
from tenant_security.testing.fakes.server import Answered, Asked, FakeServer, Mishap, answered
from tenant_security.testing.fakes.thales import FakeCipherTrust
from tenant_security.testing.fakes.vault import FakeVault

PAGE = Path(__file__).parents[3] / "docs" / "kms" / "fakes.md"
KIT = PAGE.parents[2] / "src" / "tenant_security" / "testing"
FAKES = [FakeGcp, FakeAzure, FakeCipherTrust, FakeVault]


class Echo(FakeServer):
    """Answers with the path."""

    hosts = ("echo.example", "*.echo.example")

    def name(self, asked: Asked) -> str:
        return asked.path.strip("/")

    def answer(self, asked: Asked) -> Answered:
        return answered(200, asked.path)


@pytest.fixture
def ask():
    """Ask a fake by a host name, trusting nobody else."""
    with hosted(Echo) as fake:

        def ask(path: str, host: str = "echo.example") -> tuple[int, bytes]:
            with urllib3.HTTPSConnectionPool(
                "127.0.0.1", fake.port, server_hostname=host, ssl_context=fake.trusting(), retries=False
            ) as pool:
                answer = pool.request("GET", path, headers={"Host": host})
                return answer.status, answer.data

        yield fake, ask


def test_the_example_of_the_page_runs():
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("switch", sorted(set(re.findall(r"`\.?([a-z_]+)(?:`|\(| =|\[)", PAGE.read_text("utf-8")))))
def test_every_switch_of_the_page_exists(switch):
    source = "".join(path.read_text("utf-8") for path in KIT.rglob("*.py"))

    assert re.search(rf"\b{switch}\b", source), switch


def test_what_is_asked_is_counted_and_answered(ask):
    fake, get = ask

    assert get("/one") == (200, b'"/one"')
    assert get("/one", "tenant.echo.example")[0] == 200
    assert fake.seen == {"one": 2}


def test_mishaps_befall_one_request_each_and_then_the_usual_ones(ask):
    fake, get = ask
    fake.happens("one", Mishap(instead=Answered(503, b"busy")), Mishap(hang_up=True))
    fake.always("one", Mishap(instead=Answered(429, b"later")))

    assert get("/one") == (503, b"busy")
    with pytest.raises(urllib3.exceptions.ProtocolError):
        get("/one")
    assert get("/one") == (429, b"later")
    assert get("/other")[0] == 200
    fake.always("one", None)
    assert get("/one")[0] == 200
    assert fake.seen["one"] == 4


@pytest.mark.parametrize("make", FAKES)
def test_a_fake_answers_what_it_does_not_know_and_does_not_break(make):
    with hosted(make) as fake:
        context = fake.trusting()
        host = next(each for each in fake.hosts if "*" not in each)
        with urllib3.HTTPSConnectionPool(
            "127.0.0.1", fake.port, server_hostname=host, ssl_context=context, retries=False
        ) as pool:
            for method, path, body in (
                ("GET", "/", b""),
                ("POST", "/v1/%00", b"\xff"),
                ("DELETE", "/keys/x/y/z?api-version=7.4", b""),
                ("POST", "/api/v1/crypto/encrypt", b"[]"),
                ("POST", "/v1/transit/encrypt/x", b"{"),
            ):
                status = pool.request(method, path, body=body, headers={"Host": host}).status
                assert 400 <= status < 500, (method, path, status)


@pytest.mark.parametrize("make", FAKES)
def test_a_fake_speaks_tls_only(make):
    with (
        hosted(make) as fake,
        urllib3.HTTPConnectionPool("127.0.0.1", fake.port, retries=False) as pool,
        pytest.raises(urllib3.exceptions.ProtocolError),
    ):
        pool.request("GET", "/")


def test_a_failure_to_start_is_raised_where_the_block_begins():
    def broken() -> FakeServer:
        fake = Echo()
        fake.hosts = ("not a name",)
        return fake

    with pytest.raises(ValueError, match="not a name"), hosted(broken):
        pass
