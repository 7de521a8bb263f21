"""The two clients are one: same methods, same arguments, same words; and long work leaves the loop alone."""

import inspect

import pytest

from tenant_security import client
from tenant_security.client.documents import LONG_WORK_BYTES, Documents, EncryptedDocument
from tenant_security.client.keys import UnwrappedKey, WrappedKey
from tenant_security.outbound.flow import Compute
from tenant_security.wire.edek import EncryptedDek, encode_base64

TWINS = [
    (client.TenantSecurityClient, client.AsyncTenantSecurityClient),
    (client.DeterministicClient, client.AsyncDeterministicClient),
    (client.CachedKey, client.AsyncCachedKey),
]


def methods(of: type) -> dict[str, object]:
    return {name: member for name, member in vars(of).items() if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "asynchronous"), TWINS)
def test_both_have_the_same_methods_with_the_same_arguments(sync, asynchronous):
    ours, theirs = methods(sync), methods(asynchronous)
    assert list(ours) == list(theirs)
    for name, method in ours.items():
        if isinstance(method, property):
            continue
        one, other = inspect.signature(method), inspect.signature(theirs[name])
        assert list(one.parameters.values()) == list(other.parameters.values()), name
        if name != "cached_key":
            first, second = ((inspect.getdoc(each) or "").partition("\n")[0] for each in (method, theirs[name]))
            assert first == second, name
        if sync is not client.CachedKey and name != "deterministic":
            assert inspect.iscoroutinefunction(theirs[name]), name


def test_both_are_made_with_the_same_arguments():
    one, other = (inspect.signature(each).parameters for each in TWINS[0])
    assert {name: each.default for name, each in one.items()} == {name: each.default for name, each in other.items()}


def test_everything_public_has_words_and_types():
    for name in client.__all__:
        member = getattr(client, name)
        assert member.__doc__, name
        for method, function in methods(member).items() if inspect.isclass(member) else ():
            if inspect.isfunction(function):
                assert function.__doc__, f"{name}.{method}"
                assert "return" in function.__annotations__, f"{name}.{method}"


class NoKeys:
    """Gives one key without asking anybody."""

    edek = encode_base64(EncryptedDek(b"blob", 1))

    def wrap(self, _metadata):
        yield from ()
        return WrappedKey(bytearray(range(32)), self.edek)

    def unwrap(self, _edek, _metadata):
        yield from ()
        return UnwrappedKey(bytearray(range(32)))


def asked(flow) -> tuple[int, object]:
    """How often a flow asked for a thread, and its value."""
    computed, answer = 0, None
    try:
        while True:
            effect = flow.send(answer)
            assert isinstance(effect, Compute)
            computed, answer = computed + 1, effect.work()
    except StopIteration as end:
        return computed, end.value


@pytest.mark.parametrize(("size", "threads"), [(10, 0), (LONG_WORK_BYTES - 1, 0), (LONG_WORK_BYTES, 1)])
def test_long_work_is_given_to_a_thread_and_short_work_is_not(mine, size, threads):
    documents = Documents(NoKeys(), client.DocumentFormat.V3)
    computed, encrypted = asked(documents.encrypt({"a": bytes(size)}, mine))
    assert computed == threads
    assert isinstance(encrypted, EncryptedDocument)
    computed, opened = asked(documents.decrypt(encrypted, mine))
    assert (opened, computed) == ({"a": bytes(size)}, 1 if size + 100 > LONG_WORK_BYTES else 0)


def test_keys_are_overwritten_when_an_operation_ends(mine):
    held: list[bytearray] = []

    class Watched(NoKeys):
        def wrap(self, metadata):
            made = yield from super().wrap(metadata)
            held.append(made.dek)
            return made

        def unwrap(self, edek, metadata):
            made = yield from super().unwrap(edek, metadata)
            held.append(made.dek)
            return made

    documents = Documents(Watched(), client.DocumentFormat.V3)
    _, encrypted = asked(documents.encrypt({"a": b"1"}, mine))
    asked(documents.decrypt(encrypted, mine))
    _, attached = asked(documents.encrypt_attached(b"1", mine))
    asked(documents.decrypt_attached(attached, mine))
    with pytest.raises(client.DocumentError):
        asked(documents.decrypt(EncryptedDocument({"a": b"junk"}, NoKeys.edek), mine))
    assert len(held) == 5
    assert all(each == bytes(32) for each in held)
