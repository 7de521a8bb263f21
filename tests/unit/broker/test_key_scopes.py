"""What API keys may that were made for less than their role: every endpoint, one by one."""

import base64
import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from tests.unit.broker.browser import Browser
from tests.unit.broker.inhabited import VENDOR, inhabited

from tenant_security.broker import schema
from tenant_security.broker.app import application, schema_of
from tenant_security.broker.audit import Actor
from tenant_security.broker.callers import RIGHT_OF, RIGHTS, Caller, Right, Role
from tenant_security.broker.database import Database
from tenant_security.broker.identify import Identify
from tenant_security.broker.migrations.upgrade import upgrade
from tenant_security.broker.refusals import ConflictError, ForbiddenError
from tenant_security.wire.key_scopes import Scope

BASE = "/api/1/vendors/{vendor}"
TENANT = f"{BASE}/tenants/{{tenant}}"
KEY = "-".join(["aaaa"] * 6)
SIGNED = {"body": "e30=", "key": KEY, "sig": base64.b64encode(bytes(64)).decode()}
SEALED = {
    "header": "e30=",
    "payload": "AA==",
    "commit": base64.b64encode(bytes(32)).decode(),
    "author": KEY,
    "sig": SIGNED["sig"],
    "wraps": [{"segment": 1, "epoch": 1, "suite": 1, "sealed": base64.b64encode(bytes(113)).decode()}],
    "type": "LOCAL",
}
WRAPS = {"wraps": [{"config": 9, "wrap": SEALED["wraps"][0]}]}
IMPORTED = {
    "number": 1,
    "tenant": "none",
    "type": "search",
    "path": "p",
    "config": 1,
    "encrypted": "AA==",
    "rotation": "current",
    "created": 1,
    "binding": SIGNED,
}
INVITE = {"email": "new@example.com", "role": "owner", "deliver": "link"}
DOCUMENTS = {"root": SIGNED, "manifest": SIGNED, "segmentWraps": []}

ROUTES: list[tuple[str, str, str, Any]] = [
    ("GET", f"{BASE}", "vendor:read", None),
    ("PATCH", f"{BASE}", "vendor:write", {}),
    ("GET", f"{BASE}/documents", "vendor:read", None),
    ("PUT", f"{BASE}/documents", "keys:write", DOCUMENTS),
    ("PUT", f"{BASE}/heads", "heads:write", SIGNED),
    ("GET", f"{BASE}/service-accounts", "fleet:read", None),
    ("GET", f"{BASE}/tenants", "tenants:read", None),
    ("POST", f"{BASE}/tenants", "tenants:write", {"id": "new", "name": "New"}),
    ("GET", f"{TENANT}", "tenants:read", None),
    ("PATCH", f"{TENANT}", "tenants:write", {}),
    ("DELETE", f"{TENANT}", "tenants:remove", None),
    ("GET", f"{TENANT}/documents", "documents:read", None),
    ("PUT", f"{TENANT}/documents", "documents:write", {"record": SIGNED, "baseVersion": 0}),
    ("GET", f"{TENANT}/assignments", "configs:read", None),
    ("GET", f"{TENANT}/configs", "configs:read", None),
    ("GET", f"{TENANT}/trust", "vendor:read", None),
    ("GET", f"{BASE}/tags", "tenants:read", None),
    ("POST", f"{BASE}/tags", "tenants:write", {"text": "new"}),
    ("POST", f"{BASE}/config-numbers", "documents:write", None),
    ("POST", f"{BASE}/config-numbers?through=9", "keys:write", None),
    ("GET", f"{BASE}/configs", "configs:read", None),
    ("PUT", f"{BASE}/configs", "documents:write", SEALED),
    ("GET", f"{BASE}/configs/{{number}}", "configs:read", None),
    ("PATCH", f"{BASE}/configs/{{number}}", "configs:write", {"leasingAllowed": True}),
    ("DELETE", f"{BASE}/configs/{{number}}", "configs:write", None),
    ("GET", f"{BASE}/configs/{{number}}/sealed", "documents:write", None),
    ("GET", f"{BASE}/configs/{{number}}/assignments", "configs:read", None),
    ("GET", f"{BASE}/secrets", "secrets:read", None),
    ("POST", f"{TENANT}/secrets/{{secret}}/rotation/{{step}}", "secrets:rotate", None),
    ("GET", f"{BASE}/secret-renewals", "secrets:read", None),
    ("POST", f"{BASE}/secret-renewals", "secrets:rotate", None),
    ("PUT", f"{BASE}/imported-secrets", "secrets:import", {"secrets": [IMPORTED]}),
    ("GET", f"{BASE}/audit", "audit:read", None),
    ("GET", f"{BASE}/audit/verification", "audit:read", None),
    ("GET", f"{BASE}/fleet", "fleet:read", None),
    ("GET", f"{BASE}/activity", "fleet:read", None),
    ("POST", f"{TENANT}/configs/{{number}}/test", "configs:test", None),
    ("GET", f"{TENANT}/tests/{{test}}", "configs:test", None),
    ("GET", f"{BASE}/config-wraps?segment=1", "keys:write", None),
    ("PUT", f"{BASE}/config-wraps", "keys:write", WRAPS),
    ("GET", f"{BASE}/snapshot?segment=1", "snapshots:read", None),
    ("GET", f"{TENANT}/approval-rule", "documents:read", None),
    ("GET", f"{TENANT}/approvals", "documents:read", None),
    ("GET", f"{TENANT}/approvals/{{approval}}", "documents:read", None),
    ("POST", f"{TENANT}/approvals/{{approval}}/{{decision}}", "approvals:decide", None),
    ("GET", f"{BASE}/people", "people:read", None),
    ("GET", f"{TENANT}/people", "people:read", None),
    ("GET", f"{BASE}/authors", "people:read", None),
    ("GET", f"{TENANT}/authors", "people:read", None),
    ("GET", f"{BASE}/sso", "people:read", None),
    ("GET", f"{TENANT}/sso", "people:read", None),
    ("GET", f"{BASE}/invitations", "people:read", None),
    ("GET", f"{TENANT}/invitations", "people:read", None),
    ("POST", f"{TENANT}/invitations", "invitations:write", INVITE),
    ("POST", f"{TENANT}/invitations/{{invitation}}/resend", "invitations:write", {"deliver": "link"}),
    ("DELETE", f"{TENANT}/invitations/{{invitation}}", "invitations:write", None),
]
"""Each endpoint below a vendor, and the scope that it needs."""

PEOPLE_ONLY: list[tuple[str, str, Any]] = [
    ("GET", f"{BASE}/api-keys", None),
    ("POST", f"{BASE}/api-keys", {"name": "x", "role": "admin"}),
    ("DELETE", f"{BASE}/api-keys/{{key}}", None),
    ("PUT", f"{TENANT}/approval-rule", {"required": True}),
    ("PATCH", f"{BASE}/people/{{person}}", {}),
    ("PATCH", f"{TENANT}/people/{{person}}", {}),
    ("DELETE", f"{BASE}/people/{{person}}", None),
    ("DELETE", f"{TENANT}/people/{{person}}", None),
    ("PUT", f"{BASE}/sso", {"issuer": "https://i.example", "clientId": "c", "required": False}),
    ("PUT", f"{TENANT}/sso", {"issuer": "https://i.example", "clientId": "c", "required": False}),
    ("DELETE", f"{BASE}/sso", None),
    ("DELETE", f"{TENANT}/sso", None),
    ("POST", f"{BASE}/invitations", INVITE),
    ("POST", f"{BASE}/invitations/{{invitation}}/resend", {"deliver": "link"}),
    ("DELETE", f"{BASE}/invitations/{{invitation}}", None),
]
"""What no API key may, while the vendor has people."""

FILLED = {
    "vendor": "acme",
    "number": "4711",
    "step": "begin",
    "decision": "refuse",
    **dict.fromkeys(("secret", "test", "approval", "invitation", "key", "person"), "none"),
}


@pytest.fixture
async def town(world):
    async with inhabited(world) as made:
        yield made


one_database = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What stands in the code and not in the database is tried once."""


class Keys:
    """Who makes API keys, and what comes of asking with them."""

    def __init__(self, town, owner):
        self.town = town
        self.owner = owner

    async def make(self, name, scopes=None, **more):
        said = {"name": name, "role": "admin", **more}
        if scopes is not None:
            said["scopes"] = scopes
        made = await self.owner.post(f"{VENDOR}/api-keys", said)
        assert made.status == 201, made
        return made.json["key"]

    async def ask(self, key, method, path, body=None, tenant="a"):
        target = path.format(tenant=tenant, **FILLED)
        return await Browser(self.town.made).ask(method, target, body, headers={"Authorization": f"Bearer {key}"})


@pytest.fixture
async def keys(town):
    await town.world.tenant("a")
    return Keys(town, await town.person("ann@example.com"))


def plain(path):
    return path.partition("?")[0]


@one_database
async def test_every_endpoint_needs_the_scope_that_stands_in_the_table(keys):
    everything = [scope.value for scope in Scope]
    alone, without = {}, {}
    for scope in everything:
        alone[scope] = await keys.make(scope, [scope])
        without[scope] = await keys.make(scope, [each for each in everything if each != scope])
    for method, path, scope, body in ROUTES:
        refused = await keys.ask(without[scope], method, path, body)
        said = (refused.status, refused.json.get("code"), refused.json.get("scope"))
        assert said == (403, "scope-missing", scope), (method, path, refused)
        assert repr(scope) in refused.json["message"]
    for method, path, scope, body in sorted(ROUTES, key=lambda route: route[0] == "DELETE"):
        allowed = await keys.ask(alone[scope], method, path, body)
        assert allowed.status in {200, 201, 202, 204, 404, 409, 422}, (method, path, allowed)
    assert {scope for _, _, scope, _ in ROUTES} == set(everything)


@one_database
async def test_what_belongs_to_people_no_key_may(keys):
    scoped, whole = await keys.make("scoped", [scope.value for scope in Scope]), await keys.make("whole")
    for method, path, body in PEOPLE_ONLY:
        for key in (scoped, whole):
            refused = await keys.ask(key, method, path, body)
            assert (refused.status, refused.json.get("code")) == (403, None), (method, path, refused)


async def test_the_openapi_document_says_which_scope_each_endpoint_needs(town):
    said = {}
    for path, item in schema_of(application(town.made.broker))["paths"].items():
        if path.startswith(BASE):
            for method, operation in item.items():
                ways = {name: values for way in operation["security"] for name, values in way.items()}
                scopes = [value for way in operation["security"] for value in way.get("apiKey", ())]
                assert "session" in ways or scopes, (method, path)
                said[method.upper(), path] = set(scopes)
    wanted: dict[tuple[str, str], set[str]] = {}
    for method, path, scope, _ in ROUTES:
        wanted.setdefault((method, plain(path)), set()).add(scope)
    for method, path, _ in PEOPLE_ONLY:
        wanted.setdefault((method, path), set())
    for method, path in wanted:
        # A vendor that nobody has joined is invited to by whoever may hand in its keys.
        if "/invitations" in path and method != "GET":
            wanted[method, path] = {"invitations:write", "keys:write"}
    assert said == wanted


def test_the_documentation_names_every_scope():
    page = Path(__file__).parents[3] / "docs" / "broker-api.md"
    table = page.read_text("utf-8").partition("#### Scopes")[2].partition("\n### ")[0]
    for scope in Scope:
        assert f"`{scope.value}`" in table, scope


@one_database
async def test_a_key_for_some_tenants_reaches_those_and_nothing_of_the_whole_vendor(keys):
    await keys.town.world.tenant("b")
    await keys.town.world.tenant("eu-1")
    key = await keys.make("some", tenants=["a", "eu-*"])
    for tenant in ("a", "eu-1"):
        assert (await keys.ask(key, "GET", TENANT, tenant=tenant)).status == 200
        renamed = await keys.ask(key, "PATCH", TENANT, {"name": "New"}, tenant=tenant)
        assert (renamed.status, renamed.json["name"]) == (200, "New")
        assert (await keys.ask(key, "GET", f"{BASE}/audit?tenant={tenant}")).status == 200
    for method, path, _, body in ROUTES:
        refused = await keys.ask(key, method, path, body, tenant="b")
        if path == f"{BASE}/tenants" and method == "POST":
            continue
        assert (refused.status, refused.json.get("code")) == (403, "not-for-this-tenant"), (method, path, refused)
    assert (await keys.ask(key, "POST", f"{BASE}/tenants", {"id": "eu-2", "name": "Two"})).status == 201
    assert (await keys.ask(key, "POST", f"{BASE}/tenants", {"id": "us-2", "name": "Two"})).status == 403
    assert (await keys.ask(key, "GET", f"{BASE}/secrets?tenant=a&tenant=b")).status == 403
    assert (await keys.ask(key, "GET", f"{BASE}/secrets?tenant=a")).status == 200


async def test_keys_are_listed_with_what_they_may_and_the_audit_says_it(keys):
    await keys.make("some", ["audit:read", "fleet:read"], tenants=["a", "eu-*"])
    await keys.make("whole")
    listed = {each["name"]: each for each in (await keys.owner.get(f"{VENDOR}/api-keys")).json}
    assert (listed["some"]["scopes"], listed["some"]["tenants"]) == (["audit:read", "fleet:read"], ["a", "eu-*"])
    assert (listed["whole"]["scopes"], listed["whole"]["tenants"]) == (None, None)
    audit = (await keys.owner.get(f"{VENDOR}/audit?action=api-key.make")).json
    assert [each["detail"]["scopes"] for each in audit] == [None, ["audit:read", "fleet:read"]]


TOO_MUCH = [
    ({"role": "auditor", "scopes": ["tenants:write"]}, 422, "the scope 'tenants:write' is more than the role"),
    ({"role": "auditor", "scopes": ["audit:read", "documents:write"]}, 422, "documents:write"),
    ({"role": "admin", "scopes": []}, 400, "scopes"),
    ({"role": "admin", "scopes": ["everything"]}, 400, "scopes"),
    ({"role": "admin", "tenants": []}, 400, "tenants"),
    ({"role": "admin", "tenants": [""]}, 400, "tenants"),
]


async def test_a_key_is_never_made_for_more_than_its_role_or_for_nothing(keys):
    for said, status, words in TOO_MUCH:
        refused = await keys.owner.post(f"{VENDOR}/api-keys", {"name": "x", **said})
        assert refused.status == status, (said, refused)
        assert words in refused.json["message"]


@one_database
async def test_a_key_of_before_there_were_scopes_keeps_what_it_may(keys, tmp_path):
    whole = await keys.make("whole")
    old = tmp_path / "old.db"
    async with Database(f"sqlite:///{old}", lambda: 0) as database:
        await database.run_sync(lambda connection: upgrade(connection, "0002"))
    with contextlib.closing(sqlite3.connect(old)) as before:
        before.execute("ATTACH DATABASE ? AS new", (str(tmp_path / "broker.db"),))
        names = ", ".join(row[1] for row in before.execute("PRAGMA main.table_info(api_keys)"))
        before.execute(f"INSERT INTO main.api_keys ({names}) SELECT {names} FROM new.api_keys")
        before.commit()
    async with Database(f"sqlite:///{old}", lambda: 0) as database:
        await database.run_sync(upgrade)
        caller = await Identify(database, lambda: keys.town.world.now_s).api_key(whole)
    assert (caller.role, caller.scopes, caller.tenants) == (Role.ADMIN, None, None)
    caller.require(Scope.TENANTS_REMOVE, "acme", "any")


@pytest.mark.parametrize(
    ("maker", "wanted", "may"),
    [
        ({}, (Role.ADMIN, None, None), True),
        ({}, (Role.AUDITOR, frozenset({Scope.AUDIT_READ}), ("a",)), True),
        ({"role": Role.AUDITOR}, (Role.ADMIN, None, None), False),
        ({"scopes": frozenset({Scope.AUDIT_READ})}, (Role.AUDITOR, None, None), False),
        ({"scopes": frozenset({Scope.AUDIT_READ})}, (Role.AUDITOR, frozenset({Scope.FLEET_READ}), None), False),
        ({"scopes": frozenset({Scope.AUDIT_READ})}, (Role.AUDITOR, frozenset({Scope.AUDIT_READ}), None), True),
        ({"tenants": ("eu-*",)}, (Role.AUDITOR, None, None), False),
        ({"tenants": ("eu-*",)}, (Role.AUDITOR, None, ("eu-1", "eu-b*")), True),
        ({"tenants": ("eu-1",)}, (Role.AUDITOR, None, ("eu-*",)), False),
    ],
)
def test_nobody_gives_away_more_than_they_have(maker, wanted, may):
    caller = Caller(Actor("api-key", "k", "k"), "acme", maker.pop("role", Role.OWNER), **maker)
    if may:
        caller.require_to_give(*wanted)
    else:
        with pytest.raises(ForbiddenError):
            caller.require_to_give(*wanted)


async def test_a_scope_that_is_not_known_here_gives_nothing(keys):
    key = await keys.make("newer", ["audit:read"])
    async with keys.town.world.database.note() as connection:
        await connection.execute(schema.api_keys.update().values(scopes='["audit:read", "moon:land"]'))
    assert (await keys.ask(key, "GET", f"{BASE}/audit")).status == 200
    async with keys.town.world.database.note() as connection:
        await connection.execute(schema.api_keys.update().values(scopes='["moon:land"]'))
    assert (await keys.ask(key, "GET", f"{BASE}/audit")).json["code"] == "scope-missing"


async def test_the_database_itself_refuses_a_key_for_nothing(keys):
    await keys.make("x")
    for column in ("scopes", "tenants"):
        with pytest.raises(ConflictError):
            async with keys.town.world.database.note() as connection:
                await connection.execute(schema.api_keys.update().values({column: "[]"}))


def test_each_scope_is_a_part_of_a_right_that_some_key_may_have():
    assert set(RIGHT_OF) == set(Scope)
    assert all(right in RIGHTS[Role.ADMIN] for right in RIGHT_OF.values())
    assert {Right.PEOPLE, Right.SERVE}.isdisjoint(RIGHT_OF.values())
    reading = {scope for scope, right in RIGHT_OF.items() if right is Right.READ}
    assert all(scope.value.endswith(":read") for scope in reading)
