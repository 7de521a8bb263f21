"""Resident memory of one tenant's open KMS config by provider, an access token of its own included.

Run as ``python -m bench.kms_memory PROVIDER COUNT``; prints kilobytes for one.
"""

import base64
import gc
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tenant_security.kms.catalog import open_key
from tenant_security.kms.provider import KmsContext
from tenant_security.outbound.sharing import Holding
from tenant_security.secret import Secret
from tenant_security.wire.kms_configs import decode_kms_config

_TOKEN_BYTES = {"aws": 0, "azure": 1_400, "gcp": 800, "thales": 700, "vault": 100}
"""How long access tokens are, about."""


def _word(length: int = 30) -> str:
    return base64.b64encode(os.urandom(length)).decode("ascii").replace("/", "x").replace("+", "y")


def _describe(provider: str, number: int, pem: str) -> dict[str, Any]:
    match provider:
        case "aws":
            arn = f"arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-{number:012d}"
            credentials = {"accessKeyId": f"AKIA{number:016d}", "secretAccessKey": _word()}
            return {"credentials": credentials, "keyPath": {"keyID": arn, "region": "eu-central-1"}}
        case "azure":
            guid = f"00000000-1111-2222-3333-{number:012d}"
            credentials = {"clientId": guid, "clientSecret": _word(), "tenantGuid": guid}
            vault = f"https://kv{number}.vault.azure.net"
            return {"credentials": credentials, "keyPath": {"keyName": "wrapping", "vaultBaseUrl": vault}}
        case "gcp":
            email = f"proxy-{number}@acme-keys.iam.gserviceaccount.com"
            path = {"projectId": f"acme-{number}", "locationId": "eur4", "keyRingId": "r", "cryptoKeyId": "k"}
            return {"credentials": {"client_email": email, "private_key": pem}, "keyPath": path}
        case "thales":
            credentials = {"username": f"proxy-{number}", "password": _word()}
            url = f"https://cm{number}.acme.example"
            return {"credentials": credentials, "keyPath": {"keyId": _word(), "serviceUrl": url}}
        case _:
            credentials = {"roleId": f"role-{number}", "secretId": _word()}
            url = f"https://vault{number}.acme.example"
            return {"credentials": credentials, "keyPath": {"address": url, "keyName": "wrapping"}}


def _rss_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure and print."""
    provider, count = sys.argv[1], int(sys.argv[2])
    rsa = generate_private_key(public_exponent=65537, key_size=2048)
    pem = rsa.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
    context = KmsContext(now=lambda: datetime.now(UTC))

    def one(number: int) -> tuple[object, Holding]:
        described = {"type": provider.upper(), "version": 1, **_describe(provider, number, pem)}
        key = open_key(decode_kms_config(json.dumps(described).encode()), context)
        return key, Holding(Secret("t" * _TOKEN_BYTES[provider] + str(number)), float(number), float(number))

    warm = [one(number) for number in range(100)]
    gc.collect()
    before = _rss_bytes()
    kept = {number: one(number) for number in range(count)}
    gc.collect()
    print(f"{(_rss_bytes() - before) / count / 1000:.2f}")
    assert len(kept) == count
    assert warm


if __name__ == "__main__":
    main()
