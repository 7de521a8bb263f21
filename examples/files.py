"""Encrypt a file of any size in constant memory, and decrypt it."""

import os
import tempfile
from pathlib import Path

from tenant_security.client import Metadata, TenantSecurityClient

url = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
metadata = Metadata("tenant-gcp", requesting_id="user-1", object_id="report-1")
with (
    tempfile.TemporaryDirectory() as place,
    TenantSecurityClient(url, os.environ["API_KEY"], allow_insecure_http=True) as client,
):
    plain, sealed, opened = (Path(place) / name for name in ("report.txt", "report.enc", "again.txt"))
    plain.write_bytes(b"a line of a long report\n" * 100_000)
    edek = client.encrypt_file(plain, sealed, metadata)
    client.decrypt_file(sealed, opened, metadata, edek=edek)
    print(opened.read_bytes() == plain.read_bytes(), sealed.stat().st_size - plain.stat().st_size)
