"""Derived keys: the published values, and Alloy's own derivation as an independent witness."""

import hashlib
import hmac

import ironcore_alloy as alloy_sdk
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from hypothesis import given
from hypothesis import strategies as st

from tenant_security.crypto.derive import HASHES, derive_key

SECRET = bytes(range(32))


@pytest.mark.vectors("derive-v1")
def test_published_keys_are_derived(vector):
    key = derive_key(
        bytes.fromhex(vector["secret"]), vector["tenant_id"], vector["derivation_path"], vector["derivation_type"]
    )

    assert key.hex() == vector["key"]


@given(st.binary(min_size=32, max_size=32), st.text(max_size=30), st.text(max_size=30), st.sampled_from(sorted(HASHES)))
def test_a_key_is_the_hmac_of_tenant_and_path(secret, tenant, path, kind):
    message = tenant.encode() + b"-" + path.encode()

    assert derive_key(secret, tenant, path, kind) == hmac.new(secret, message, kind).digest()


@pytest.mark.parametrize(("kind", "size"), [("sha512", 64), ("sha256", 32)])
def test_each_type_has_its_length(kind, size):
    assert len(derive_key(SECRET, "tenant", "path", kind)) == size


def test_tenant_path_and_secret_each_change_the_key():
    keys = {
        derive_key(secret, tenant, path, "sha512")
        for secret in (SECRET, bytes(32))
        for tenant in ("a", "b", "")
        for path in ("p", "q", "")
    }

    assert len(keys) == 2 * 3 * 3


def test_text_beyond_ascii_is_hashed_as_utf_8():
    wanted = hmac.digest(SECRET, "mándant-pfäd/🔑".encode(), hashlib.sha512)

    assert derive_key(SECRET, "mándant", "pfäd/🔑", "sha512") == wanted


@pytest.mark.parametrize(
    ("tenant", "secret_path", "path"),
    [("tenant-gcp", "secret", "path"), ("t", "", "a/b"), ("mándant", "s", ""), ("a-b", "s", "c-d")],
)
async def test_alloy_encrypts_with_the_key_that_we_derive(tenant, secret_path, path):
    """Alloy's deterministic fields are AES-256-SIV under the 64 bytes; opened here by hand with our key."""
    secret = alloy_sdk.RotatableSecret(alloy_sdk.StandaloneSecret(7, alloy_sdk.Secret(SECRET)), None)
    standard = alloy_sdk.StandardSecrets(None, [])
    sdk = alloy_sdk.Standalone(alloy_sdk.StandaloneConfiguration(standard, {secret_path: secret}, {}))

    field = alloy_sdk.PlaintextField(plaintext_field=b"123-45", secret_path=secret_path, derivation_path=path)
    encrypted = (await sdk.deterministic().encrypt(field, alloy_sdk.AlloyMetadata.new_simple(tenant))).encrypted_field

    key = derive_key(SECRET, tenant, path, "sha512")
    assert int.from_bytes(encrypted[:4]) == 7
    assert AESSIV(key).decrypt(encrypted[6:], [b""]) == b"123-45"
