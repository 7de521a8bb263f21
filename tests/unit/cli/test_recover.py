"""What a tenant's KMS alone can do: the documents of a broker and a proxy that are gone."""

import asyncio
import base64
import json

import pytest

from tenant_security.cli import recover, secrets, snapshot_export
from tenant_security.cli.link import At
from tenant_security.client import AsyncTenantSecurityClient, Metadata
from tenant_security.client.deterministic import Field
from tenant_security.crypto.deterministic import FieldForm
from tenant_security.testing.brokers import running_broker
from tenant_security.testing.proxies import API_KEY, Use, local_config, running_proxy

PLAIN = b"the contract" * 1000
FIELD = Field(b"4711", "customers", "number")


@pytest.fixture(params=[False, True], ids=["not leased", "leased"])
async def left(request, tmp_path):
    """What is left: an encrypted file, a document, a field, an export, and the tenant's own KMS config."""
    use = Use(7, leasing=request.param)
    world, who = tmp_path / "world", Metadata("acme", requesting_id="test")
    (tmp_path / "plain").write_bytes(PLAIN)
    async with (
        running_broker(world, {"acme": (use,)}) as broker,
        running_proxy(world, broker_url=broker.url) as proxy,
        AsyncTenantSecurityClient(proxy.api_url, API_KEY, allow_insecure_http=True) as client,
    ):
        edek = await client.encrypt_file(tmp_path / "plain", tmp_path / "sealed", who)
        (tmp_path / "sealed.edek").write_text(edek)
        document = await client.encrypt({"name": b"Ann"}, who)
        (tmp_path / "document.json").write_bytes(document.to_json())
        field = await client.deterministic(FieldForm.TSC).encrypt(FIELD, who)
        (tmp_path / "field").write_text(base64.b64encode(field.ciphertext).decode())
        at = At(world / "vendor", broker.url)
        await asyncio.to_thread(secrets.export, tmp_path / "secrets.json", at=at)
        await asyncio.to_thread(snapshot_export.export, tmp_path / "tenants.snapshot", at=at)
    (tmp_path / "kms.json").write_bytes(local_config(world, use))
    return tmp_path


async def test_a_file_is_decrypted_with_the_tenants_config(left):
    out = left / "out"
    config = [left / "kms.json"]
    await asyncio.to_thread(recover.file, left / "sealed", tenant="acme", out=out, config=config)
    assert out.read_bytes() == PLAIN


async def test_a_document_is_decrypted_with_a_sealed_snapshot(left):
    out = left / "out"
    await asyncio.to_thread(
        recover.document,
        left / "document.json",
        tenant="acme",
        out=out,
        snapshot=left / "tenants.snapshot",
        env_file=left / "world" / "service.env",
    )
    assert json.loads(out.read_text()) == {"name": base64.b64encode(b"Ann").decode()}
    assert out.stat().st_mode & 0o077 == 0


async def test_a_deterministic_field_is_decrypted_with_the_export(left, capfdbinary):
    await asyncio.to_thread(
        recover.field,
        (left / "field").read_text(),
        tenant="acme",
        secrets=left / "secrets.json",
        secret_path=FIELD.secret_path,
        derivation_path=FIELD.derivation_path,
        config=[left / "kms.json"],
    )
    assert capfdbinary.readouterr().out.endswith(b"4711")


async def test_another_key_opens_nothing(left, capsys):
    other = json.loads((left / "kms.json").read_bytes())
    other["credentials"]["keys"]["1"] = base64.b64encode(bytes(32)).decode()
    (left / "other.json").write_text(json.dumps(other))
    with pytest.raises(SystemExit):
        await asyncio.to_thread(
            recover.file, left / "sealed", tenant="acme", out=left / "out", config=[left / "other.json"]
        )
    assert "error:" in capsys.readouterr().err
    assert not (left / "out").exists()


async def test_the_export_has_the_shape_of_the_originals_backups(left):
    (record,) = json.loads((left / "secrets.json").read_text())
    assert set(record) == {
        "tenantProvidedId",
        "numericId",
        "tenantSecretId",
        "id",
        "secretFingerprint",
        "secretPath",
        "kmsConfigId",
        "migrationStatus",
        "encryptedSecret",
        "rotationStatus",
        "secretType",
        "created",
        "updated",
    }
    assert (record["tenantProvidedId"], record["secretPath"], record["kmsConfigId"]) == ("acme", "customers", 7)
    assert (record["migrationStatus"], record["rotationStatus"], record["secretType"]) == (1, 1, 2)
    assert record["numericId"] == record["tenantSecretId"]
    assert len(base64.b64decode(record["secretFingerprint"])) == 32
