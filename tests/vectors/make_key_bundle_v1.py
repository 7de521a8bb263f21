"""Makes key-bundle-v1.json anew. Run it only when the format changes: every run gives other bytes.

python tests/vectors/make_key_bundle_v1.py > tests/vectors/key-bundle-v1.json
"""

import base64
import hashlib
import json
import os
import sys

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tenant_security.crypto.seal import Suite
from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import OpeningKey
from tenant_security.secret import Secret

EMAIL, PASSPHRASE = "Ann@Example.com", "correct horse battery st\u00e4ple"
SIGNING, ENCRYPTION = bytes(range(32)), bytes(range(32, 64))


def stretched(email: str, passphrase: str) -> bytes:
    salt = hashlib.sha256(b"tenant-security/passphrase/v1\n" + email.strip().lower().encode()).digest()
    return hash_secret_raw(
        passphrase.encode(), salt, time_cost=3, memory_cost=65_536, parallelism=1, hash_len=32, type=Type.ID
    )


def derived(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, b"", info).derive(key)


def encrypted(key: bytes, header: bytes, plaintext: bytes) -> str:
    nonce = os.urandom(12)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, plaintext, header)).decode()


def main() -> None:
    master, key = stretched(EMAIL, PASSPHRASE), os.urandom(32)
    opens = derived(master, b"tenant-security/open-lock/v1")
    signing = SigningKey(Secret(SIGNING)).public
    encryption = OpeningKey(Suite.XWING, Secret(ENCRYPTION)).public
    header = b"tenant-security/key-bundle/v1\n" + signing + encryption
    seeds = {"signing": base64.b64encode(SIGNING).decode(), "encryption": base64.b64encode(ENCRYPTION).decode()}
    vector = {
        "about": "docs/formats-trust.md explains this, under Key bundle. Bytes are hexadecimal outside the bundle.",
        "email": EMAIL,
        "passphrase": PASSPHRASE,
        "signIn": base64.b64encode(derived(master, b"tenant-security/sign-in/v1")).decode(),
        "opens": opens.hex(),
        "signingSeed": SIGNING.hex(),
        "encryptionSeed": ENCRYPTION.hex(),
        "bundle": {
            "format": "tenant-security-keys",
            "formatVersion": 1,
            "signing": base64.b64encode(signing).decode(),
            "encryption": base64.b64encode(encryption).decode(),
            "locks": [{"kind": "passphrase", "id": "", "sealed": encrypted(opens, header, key)}],
            "keys": encrypted(key, header, json.dumps(seeds).encode()),
        },
    }
    json.dump(vector, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
