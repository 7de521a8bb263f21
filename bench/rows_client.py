"""The client: how fast a large document is encrypted, against what OpenSSL itself says of this processor."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

from bench.servers import pinned
from bench.table import Row

_DOCUMENT_BYTES = 10_000_000
_PROGRAM = f"""
import os, time
from tenant_security.client.document_keys import DocumentFormat, new_key
from tenant_security.wire import edek
key = new_key(bytearray(os.urandom(32)), edek.encode_base64(edek.EncryptedDek(b"x" * 113, 511)), "t", DocumentFormat.V3)
plain = {{"body": os.urandom({_DOCUMENT_BYTES})}}
sealed = key.encrypt(plain, "t")
for name, work in (("encrypt", lambda: key.encrypt(plain, "t")), ("decrypt", lambda: key.decrypt(sealed))):
    work()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        work()
        done += {_DOCUMENT_BYTES}
    print(name, done / (time.perf_counter() - began))
"""


def client(rounds: int, seconds: float) -> Iterator[Row]:
    """AES-256-GCM of a 10 MB document, header and all, against ``openssl speed`` on the same core."""
    results = [(_openssl(seconds), _ours(seconds)) for _ in range(rounds)]
    for name in ("encrypt", "decrypt"):
        ratios = [ours[name] / theirs for theirs, ours in results]
        theirs, ours = sorted(results, key=lambda each: each[1][name])[rounds // 2]
        raw = f"{ours[name] / 1e9:.2f} GB/s; openssl {theirs / 1e9:.2f} GB/s"
        yield Row(f"client: {name} a 10 MB document", ">= 0.8 x openssl speed", 0.8, True, ratios, raw)


def _openssl(seconds: float) -> float:
    """Bytes per second, in blocks of 16 KB."""
    command = ["openssl", "speed", "-seconds", str(max(1, round(seconds))), "-bytes", "16384", "-evp", "aes-256-gcm"]
    told = subprocess.run(pinned(0, *command), capture_output=True, text=True, check=True).stdout
    found = re.search(r"^AES-256-GCM\s+([\d.]+)k", told, re.MULTILINE)
    if found is None:
        raise SystemExit("error: openssl speed said nothing that is understood here")
    return float(found[1]) * 1000


def _ours(seconds: float) -> dict[str, float]:
    program = _PROGRAM.replace("SECONDS", str(seconds))
    command = pinned(0, sys.executable, "-c", program)
    told = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    return {name: float(value) for name, value in (line.split() for line in told.splitlines())}
