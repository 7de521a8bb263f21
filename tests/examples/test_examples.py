"""Every program under examples/ prints what it promises."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from tenant_security.testing.proxies import RunningProxy

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "quickstart": "{'ssn': b'000-12-2345'}\n",
    "asynchronous": "100 {'note': b'note 7'}\n",
    "files": "True 79\n",
    "searchable": "[(2,)]\n",
    "django_notes": "['text 0', 'text 1', 'text 2']\n",
    "sqlalchemy_customers": "000-12-2345\n",
    "s3_documents": "b'what the report says'\nb'what the report says'\n",
}
ELSEWHERE = {"fastapi_notes"}


def environment(proxy: RunningProxy) -> dict[str, str]:
    return {**os.environ, "TENANT_SECURITY_PROXY": proxy.api_url, "API_KEY": proxy.api_key}


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """A store that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    httpx.put(f"{url}/documents")
    yield {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    server.stop()


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_promises(proxy, store, name):
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / f"{name}.py"]
        if name != "s3_documents"
        else [sys.executable, EXAMPLES / f"{name}.py"],
        env={**environment(proxy), **store},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (PRINTED[name], "")


async def test_the_fastapi_example_serves_each_tenant_its_own(proxy, monkeypatch):
    for name, value in environment(proxy).items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("fastapi_notes", EXAMPLES / "fastapi_notes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    transport = httpx.ASGITransport(app=module.app)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(transport=transport, base_url="http://app") as call,
    ):
        anna, bert = {"authorization": "anna's session"}, {"authorization": "bert's session"}
        assert (await call.put("/notes/1", params={"text": "mine"}, headers=anna)).status_code == 204
        assert (await call.get("/notes/1", headers=anna)).json() == "mine"
        assert (await call.get("/notes/1", headers=bert)).status_code == 403
        assert (await call.get("/notes/1")).status_code == 401


def test_every_example_is_run_and_listed():
    files = {each.stem for each in EXAMPLES.glob("*.py")}
    assert files == PRINTED.keys() | ELSEWHERE
    readme = (EXAMPLES / "README.md").read_text()
    assert all(f"({name}.py)" in readme for name in files)
