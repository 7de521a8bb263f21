"""Our own client in the exchange: writes specimens for the others, and reads theirs."""

import base64
import io
import os
from typing import Any

from tenant_security.client import (
    ClientError,
    EncryptedDocument,
    EncryptedField,
    EncryptedValue,
    Field,
    FieldForm,
    Metadata,
    TenantSecurityClient,
)

from .running_proxy import API_KEY, RunningProxy
from .toolchains import Report

Specimen = dict[str, Any]

_BATCH = "batched document"


def client_of(proxy: RunningProxy) -> TenantSecurityClient:
    """Our client, as an application makes it."""
    return TenantSecurityClient(proxy.url, API_KEY, allow_insecure_http=True)


def of(tenant: str) -> Metadata:
    """What our client says of itself."""
    return Metadata(tenant, requesting_id="conformance-python", data_label="records")


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _specimen(name: str, tenant: str, plaintext: bytes, edek: str, ciphertext: bytes) -> Specimen:
    return {
        "name": name,
        "kind": "document",
        "tenant": tenant,
        "plaintext": _text(plaintext),
        "edek": edek,
        "ciphertext": _text(ciphertext),
    }


def _document(client: TenantSecurityClient, name: str, tenant: str, rekeyed_to: str | None = None) -> Specimen:
    plaintext = os.urandom(777)
    encrypted = client.encrypt({"body": plaintext}, of(tenant))
    edek = encrypted.edek
    if rekeyed_to is not None:
        edek = client.rekey(edek, of(tenant), new_tenant_id=rekeyed_to)
    return _specimen(name, rekeyed_to or tenant, plaintext, edek, encrypted.fields["body"])


def python_writes(proxy: RunningProxy) -> list[Specimen]:
    """One specimen of every kind."""
    streamed, sealed, field = os.urandom(300_000), io.BytesIO(), os.urandom(33)
    with client_of(proxy) as client:
        edek = client.encrypt_stream(io.BytesIO(streamed), sealed, of("tenant-gcp"))
        batch = client.encrypt_batch({"0": {"body": b"zero"}, "1": {"body": b"one"}}, of("tenant-gcp-l")).all_or_raise()
        paths = ("exchange", "column/1")
        encrypted = client.deterministic(FieldForm.TSC).encrypt(Field(field, *paths), of("tenant-gcp"))
        return [
            _document(client, "document", "tenant-gcp"),
            _document(client, "leased document", "tenant-gcp-l"),
            _document(client, "rekeyed document", "tenant-aws", "tenant-azure"),
            _document(client, "document rekeyed to leased", "tenant-gcp", "tenant-gcp-l"),
            _specimen("streamed document", "tenant-gcp", streamed, edek, sealed.getvalue()),
            _specimen(_BATCH, "tenant-gcp-l", b"one", batch["1"].edek, batch["1"].fields["body"]),
            {
                "name": "field",
                "kind": "field",
                "tenant": "tenant-gcp",
                "plaintext": _text(field),
                "ciphertext": _text(encrypted.ciphertext),
                "secretPath": paths[0],
                "derivationPath": paths[1],
            },
        ]


def python_reads(proxy: RunningProxy, specimens: list[Specimen]) -> Report:
    """Read every specimen in every way that fits it: whole, as a stream and in a batch."""
    checks: dict[str, str | None] = {}
    with client_of(proxy) as client:
        for specimen in specimens:
            try:
                _read(client, specimen)
            except (ClientError, AssertionError) as failure:
                checks[specimen["name"]] = repr(failure)
            else:
                checks[specimen["name"]] = None
    return Report(checks, "")


def _read(client: TenantSecurityClient, specimen: Specimen) -> None:
    ciphertext, plaintext = base64.b64decode(specimen["ciphertext"]), base64.b64decode(specimen["plaintext"])
    metadata = of(specimen["tenant"])
    if specimen["kind"] == "field":
        paths = (specimen["secretPath"], specimen["derivationPath"])
        fields = client.deterministic(FieldForm.TSC)
        opened = fields.decrypt(EncryptedField(ciphertext, *paths), metadata)
        assert opened.value == plaintext, "the field differs"
        assert fields.encrypt(opened, metadata).ciphertext == ciphertext, "both clients must write the same field"
        assert ciphertext in fields.search_terms(opened, metadata), "the field is not found"
        return
    edek = specimen["edek"]
    assert client.decrypt_value(EncryptedValue(ciphertext, edek), metadata) == plaintext, "the plaintext differs"
    sink = io.BytesIO()
    client.decrypt_stream(io.BytesIO(ciphertext), sink, metadata, edek=edek)
    assert sink.getvalue() == plaintext, "the plaintext of the stream differs"
    batch = client.decrypt_batch({"x": EncryptedDocument({"body": ciphertext}, edek)}, metadata).all_or_raise()
    assert batch["x"]["body"] == plaintext, "the plaintext of the batch differs"
