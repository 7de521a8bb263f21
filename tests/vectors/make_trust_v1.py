"""Makes trust-v1.json anew. Run it only when the format changes: sealing is random, so every run gives other bytes.

python tests/vectors/make_trust_v1.py > tests/vectors/trust-v1.json
"""

import base64
import json
import sys
import tempfile
from pathlib import Path

from tenant_security.authoring import documents
from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.seal import Suite, commitment, seal_payload
from tenant_security.crypto.signing import Kind, SigningKey, fingerprint
from tenant_security.crypto.unseal import OpeningKey
from tenant_security.secret import Secret
from tenant_security.wire import snapshot as words
from tenant_security.wire.service_env import parse_env, render_env

NOW_S = 1_800_000_000
SEEDS = (bytes(range(32)), bytes(range(32, 64)))


def config_json(name: str) -> bytes:
    keys = {"1": base64.b64encode(SEEDS[0]).decode()}
    config = {"type": "LOCAL", "version": 1, "credentials": {"keys": keys}, "keyPath": {"keyId": name}}
    return json.dumps(config, separators=(",", ":")).encode()


def hpke(suite: Suite, seed: bytes) -> dict[str, object]:
    key = OpeningKey(suite, Secret(seed))
    info, plaintext = b"tenant-security test context", b"the quick brown fox"
    sealed = key.sealing_key.seal(info, plaintext)
    return {
        "suite": suite.value,
        "seed": seed.hex(),
        "public": key.public.hex(),
        "info": info.hex(),
        "plaintext": plaintext.hex(),
        "sealed": sealed.hex(),
    }


def signature(kind: Kind, seed: bytes) -> dict[str, str]:
    key, body = SigningKey(Secret(seed)), b'{"vendor":"acme"}'
    return {
        "kind": kind.value,
        "seed": seed.hex(),
        "public": key.public.hex(),
        "body": body.hex(),
        "signature": key.sign(kind, body).hex(),
        "keyId": key.key_id,
        "fingerprint": fingerprint(key.public),
    }


def envelope(suite: Suite) -> dict[str, object]:
    segment_key, author = OpeningKey(suite, Secret(SEEDS[0])), SigningKey(Secret(SEEDS[1]))
    segment = words.Segment(id=3, epoch=7, suite=suite.value, public=segment_key.public)
    header = words.ConfigHeader("acme", "tenant-a", 20, "kms", 5, NOW_S)
    made = documents.seal_config(header, config_json("a"), segment, author)
    dek = documents.open_dek(made, segment_key)
    return {
        "segmentSeed": SEEDS[0].hex(),
        "authorPublic": author.public.hex(),
        "envelope": json.loads(words.encode(made)),
        "wrapInfo": words.config_dek_info(3, 7, made.header).hex(),
        "signedBytes": words.config_signed_bytes(made.header, made.payload, made.commit).hex(),
        "dek": dek.hex(),
        "config": config_json("a").decode(),
    }


def snapshot() -> dict[str, object]:
    with tempfile.TemporaryDirectory() as directory:
        vendor = Vendor.create(Path(directory) / "vendor", "acme", clock=lambda: NOW_S)
        credentials = vendor.add_identity("proxy-1")
        roster = Roster(vendor)
        roster.put_shared(1, config_json("shared"))
        roster.put_tenant("tenant-a", [assign(20, primary=True, leasing=True)], configs={20: config_json("a")})
        roster.put_tenant("tenant-ä", [assign(1, primary=True)], leasing_required=True)
        write_snapshot(vendor, Path(directory) / "s", roster, head_life_s=600)
        return {
            "nowSeconds": NOW_S,
            "environment": parse_env(render_env(credentials, Secret("0WUaXesNgbTAuLwn"))),
            "lines": (Path(directory) / "s").read_text("utf-8").splitlines(),
            "primaryConfigs": {"tenant-a": config_json("a").decode(), "tenant-ä": config_json("shared").decode()},
        }


def payload() -> dict[str, str]:
    dek, sealed, commit = seal_payload(b"header", b"plaintext")
    assert commit == commitment(dek)
    return {
        "dek": dek.hex(),
        "header": b"header".hex(),
        "payload": sealed.hex(),
        "commit": commit.hex(),
        "plaintext": b"plaintext".hex(),
    }


if __name__ == "__main__":
    vectors = {
        "about": "docs/formats-trust.md explains these. Bytes are hexadecimal, except inside envelope and lines.",
        "hpke": [hpke(suite, seed) for suite in Suite for seed in SEEDS],
        "signatures": [signature(kind, seed) for kind, seed in zip(Kind, SEEDS * 3, strict=False)],
        "payload": payload(),
        "segmentSeedInfo": {
            "vendor": "acme",
            "segment": 3,
            "epoch": 7,
            "recipient": "abcd-efgh-ijkl-mnop-qrst-uvwx",
            "info": words.segment_seed_info("acme", 3, 7, "abcd-efgh-ijkl-mnop-qrst-uvwx").hex(),
        },
        "envelopes": [envelope(suite) for suite in Suite],
        "snapshot": snapshot(),
    }
    json.dump(vectors, sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")
