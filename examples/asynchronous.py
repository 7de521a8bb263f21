"""Encrypt many documents with few requests, with asyncio."""

import asyncio
import os

from tenant_security.client import AsyncTenantSecurityClient, Metadata

URL = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")


async def main() -> None:
    """Encrypt a hundred documents and decrypt them."""
    metadata = Metadata("tenant-gcp-l", requesting_id="nightly-import")
    documents = {f"customer-{number}": {"note": f"note {number}".encode()} for number in range(100)}
    async with AsyncTenantSecurityClient(URL, os.environ["API_KEY"], allow_insecure_http=True) as client:
        encrypted = await client.encrypt_batch(documents, metadata)
        for name, failure in encrypted.failures.items():
            print(f"{name}: {failure}")
        decrypted = (await client.decrypt_batch(encrypted.successes, metadata)).all_or_raise()
        print(len(decrypted), decrypted["customer-7"])


asyncio.run(main())
