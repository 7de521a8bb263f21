"""The web app is sent as it was built, with headers that keep strangers' scripts and frames out."""

import pytest
from tests.unit.broker.served import served

from tenant_security.broker.pages import Pages
from tenant_security.broker.public_address import PublicAddress
from tenant_security.broker.server_key import load_server_key
from tenant_security.broker.web import client_address, counted_together
from tenant_security.errors import SettingsError
from tenant_security.outbound.flow import Request


@pytest.fixture
def built(tmp_path):
    (tmp_path / "static" / "assets").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<!doctype html><title>app</title>")
    (tmp_path / "static" / "assets" / "app-1a2b.js").write_text("export {};\n" * 200)
    (tmp_path / "secret.txt").write_text("not for you")
    (tmp_path / "static" / "link").symlink_to(tmp_path / "secret.txt")
    return Pages(tmp_path / "static")


async def get(made, path, *headers):
    return await made.send(Request("GET", made.base + path, headers))


async def test_the_app_answers_for_its_own_addresses_and_nothing_else_is_sent(world, built):
    async with served(world, pages=built) as made:
        for path in ("/", "/tenants", "/tenants/a%20b/people", "/sign-in", "/index.html"):
            answer = await get(made, path)
            assert (answer.status, answer.body) == (200, b"<!doctype html><title>app</title>"), path
            assert answer.headers["cache-control"] == "no-cache"
        for path in ("/link", "/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/assets/gone.js", "/.env"):
            answer = await get(made, path)
            assert b"not for you" not in answer.body
            assert answer.status == 404 or answer.body.startswith(b"<!doctype"), path
        assert (await get(made, "/api/1/nothing")).status == 404
        assert (await get(made, "/api/1/nothing")).headers["content-type"].startswith("application/json")


async def test_what_is_named_by_its_hash_is_kept_for_ever_and_sent_packed(world, built):
    async with served(world, pages=built) as made:
        plain = await get(made, "/assets/app-1a2b.js")
        packed = await get(made, "/assets/app-1a2b.js", ("Accept-Encoding", "gzip"))
        assert "immutable" in plain.headers["cache-control"]
        assert plain.headers["content-type"].startswith("text/javascript")
        assert packed.headers["content-encoding"] == "gzip"
        again = await get(made, "/assets/app-1a2b.js", ("If-None-Match", plain.headers["etag"]))
        assert (again.status, again.body) == (304, b"")


async def test_every_answer_carries_the_headers(world, built):
    async with served(world, pages=built) as made:
        for path in ("/", "/assets/app-1a2b.js", "/api/1/session", "/api/1/nothing", "/live", "/nothing.txt"):
            headers = (await get(made, path)).headers
            policy = headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
            assert "strict-transport-security" not in headers
        assert "require-trusted-types-for 'script'" in (await get(made, "/")).headers["content-security-policy"]
        assert (await get(made, "/api/1/nothing")).headers["cache-control"] == "no-store"


async def test_https_is_for_good(world, built):
    async with served(world, pages=built, public="https://broker.example") as made:
        assert (await get(made, "/")).headers["strict-transport-security"].startswith("max-age=31536000")


async def test_an_app_that_was_not_built_is_said_so(world, tmp_path):
    async with served(world, pages=Pages(tmp_path / "none")) as made:
        answer = await get(made, "/")
        assert answer.status == 503
        assert b"npm run build" in answer.body


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://Broker.Example", "https://broker.example"),
        ("https://broker.example:443/", "https://broker.example"),
        ("https://broker.example:8443", "https://broker.example:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
    ],
)
def test_a_public_address_is_an_origin(written, origin):
    assert PublicAddress.parse(written).origin == origin


@pytest.mark.parametrize(
    "written", ["http://broker.example", "https://a/b", "ftp://localhost", "https://u@a", "https://", "https://a:x"]
)
def test_what_is_no_safe_address_is_refused(written):
    with pytest.raises(ValueError, match="https://host"):
        PublicAddress.parse(written)


def test_only_our_own_load_balancers_say_who_asks():
    import ipaddress

    ours = (ipaddress.ip_network("10.0.0.0/8"),)
    assert client_address("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.9", ours) == "1.2.3.4"
    assert client_address("9.9.9.9", "1.2.3.4", ours) == "9.9.9.9"
    assert client_address("10.0.0.1", "nonsense", ours) == "10.0.0.1"
    assert client_address("10.0.0.1", "", ours) == "10.0.0.1"
    assert counted_together("2001:db8::1") == counted_together("2001:db8::2") != counted_together("2001:db8:0:1::1")


def test_the_brokers_key_is_made_once_and_rotates(tmp_path):
    path = tmp_path / "broker.key"
    old = load_server_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    sealed = old.seal("totp", b"seed", b"ann")
    first = path.read_bytes()
    assert load_server_key(path).open("totp", sealed, b"ann") == b"seed"
    load_server_key(tmp_path / "new.key")
    path.write_bytes((tmp_path / "new.key").read_bytes() + first)
    rotated = load_server_key(path)
    assert rotated.open("totp", sealed, b"ann") == b"seed"
    assert old.open("totp", rotated.seal("totp", b"x")) is None
    assert old.open("other", sealed, b"ann") is None
    assert old.open("totp", sealed, b"bob") is None
    assert old.open("totp", b"short") is None


@pytest.mark.parametrize("content", [b"", b"nonsense", b"AAAA\n"])
def test_a_file_that_holds_no_key_is_refused(tmp_path, content):
    path = tmp_path / "broker.key"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="openssl rand"):
        load_server_key(path)
