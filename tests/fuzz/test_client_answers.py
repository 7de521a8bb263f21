"""Whatever stands in the proxy's place, and whatever lies in storage: the client has an error of its own for it."""

import base64
import contextlib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tenant_security.client import (
    ClientError,
    EncryptedDocument,
    EncryptedField,
    Field,
    FieldForm,
    Metadata,
    RetryPolicy,
    TenantSecurityClient,
)
from tenant_security.outbound.flow import Flow, Request, Response
from tenant_security.testing.memory_proxy import MemoryProxy

MINE = Metadata("acme", requesting_id="r")
DEK = base64.b64encode(bytes(32)).decode()
MEMBERS = [
    "dek",
    "edek",
    "keys",
    "failures",
    "x",
    "code",
    "message",
    "derivedKeys",
    "hasPrimaryConfig",
    "s",
    "d",
    "derivedKey",
    "tenantSecretId",
    "current",
]
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.just(DEK)
JSON = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=12,
)
BODIES = st.binary(max_size=60) | JSON.map(msgspec.json.encode)
STATUSES = st.sampled_from([200, 201, 204, 400, 401, 404, 422, 429, 500, 503])


class Anything:
    """A driver that answers every request with the same thing."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def run(self, flow: Flow[object], *, deadline_s: float) -> object:  # noqa: ARG002 - the driver's interface
        answer: object = None
        try:
            while True:
                effect = flow.send(answer)
                answer = self._response if isinstance(effect, Request) else self._other(effect)
        except StopIteration as end:
            return end.value

    def _other(self, effect: object) -> object:
        flows = getattr(effect, "flows", ())
        outcomes: list[object] = []
        for each in flows:
            try:
                outcomes.append(self.run(each, deadline_s=1))
            except ClientError as fault:
                outcomes.append(fault)
        return outcomes

    def close(self) -> None:
        """Nothing is open."""


@settings(max_examples=300)
@given(STATUSES, BODIES)
def test_no_answer_makes_the_client_fail_in_another_way(status, body):
    driver = Anything(Response(status, {"retry-after": "x"}, body))
    client = TenantSecurityClient("https://x", "k", retry=RetryPolicy(repetitions=0), driver=driver)  # type: ignore[arg-type]
    edek = base64.b64encode(b"x").decode()
    for ask in (
        lambda: client.encrypt({"a": b"1"}, MINE),
        lambda: client.decrypt(EncryptedDocument({"a": b"1"}, edek), MINE),
        lambda: client.encrypt_attached(b"1", MINE),
        lambda: client.encrypt_batch({"x": {"a": b"1"}}, MINE),
        lambda: client.decrypt_batch({"x": EncryptedDocument({}, edek)}, MINE),
        lambda: client.rekey(edek, MINE),
        lambda: client.deterministic(FieldForm.TSC).encrypt(Field(b"1", "s", "d"), MINE),
        lambda: client.deterministic(FieldForm.TSC).search_terms(Field(b"1", "s", "d"), MINE),
    ):
        with contextlib.suppress(ClientError):
            ask()


@settings(max_examples=200)
@given(st.binary(max_size=120), st.binary(max_size=200))
def test_nothing_in_storage_makes_the_client_fail_in_another_way(edek, content):
    client = MemoryProxy().client(retry=RetryPolicy(repetitions=0))
    good = client.encrypt({"a": b"1"}, MINE)
    starts = [
        b"\x03IRON",
        b"\x00IRON",
        b"\x04IRON\x00\x05",
        b"\x00\x00\x01\xff\x02\x00",
        bytes([0, 0, 0, 5, 0, 0]),
        b"",
    ]
    for start in starts:
        for ask in (
            lambda start=start: client.decrypt(EncryptedDocument({"a": start + content}, good.edek), MINE),
            lambda start=start: client.decrypt(
                EncryptedDocument(good.fields, base64.b64encode(start + edek).decode()), MINE
            ),
            lambda start=start: client.decrypt_attached(start + content, MINE),
            lambda start=start: client.rekey_attached(start + content, MINE),
            lambda start=start: client.deterministic(FieldForm.ALLOY).decrypt(
                EncryptedField(start + content, "s", "d"), MINE
            ),
        ):
            try:
                ask()
            except ClientError:
                continue
            raise AssertionError("it opened")
