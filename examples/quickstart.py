"""Encrypt a document with a tenant's key, and decrypt it."""

import os

from tenant_security.client import Metadata, TenantSecurityClient

url = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
with TenantSecurityClient(url, os.environ["API_KEY"], allow_insecure_http=True) as client:
    metadata = Metadata("tenant-gcp-l", requesting_id="user-1")
    encrypted = client.encrypt({"ssn": b"000-12-2345"}, metadata)
    # Store encrypted.fields and encrypted.edek side by side; neither is secret.
    document = client.decrypt(encrypted, metadata)
    print(document)
