"""S3: objects that are encrypted before they leave, and verified when they come back.

boto3 finds the bucket's host and credentials as always; AWS_ENDPOINT_URL names another store that speaks the protocol.
"""

import os

import boto3

from tenant_security.client import Metadata, TenantSecurityClient
from tenant_security.client.integrations.s3 import EncryptedObjects

url = os.environ.get("TENANT_SECURITY_PROXY", "http://localhost:7777")
bucket = os.environ.get("BUCKET", "documents")
metadata = Metadata("tenant-gcp", requesting_id="user-1", object_id="reports/1")
with TenantSecurityClient(url, os.environ["API_KEY"], allow_insecure_http=True) as client:
    objects = EncryptedObjects(boto3.client("s3"), client, bucket)
    objects.put("reports/1", b"what the report says", metadata, {"ContentType": "text/plain"})
    print(objects.get("reports/1", metadata))
    objects.rekey("reports/1", metadata)  # to the KMS config that is the tenant's primary now
    print(objects.get("reports/1", metadata))
