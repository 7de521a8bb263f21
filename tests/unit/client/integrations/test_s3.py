"""Objects in S3: what lies there is encrypted, and what comes back was verified."""

import io
from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from tenant_security.client import DocumentError, EncryptedValue, KmsError, Metadata
from tenant_security.client.integrations.s3 import EDEK_METADATA, EncryptedObjects

PLAIN = bytes(range(251)) * 50_000  # more than one part of a multipart upload


@pytest.fixture
def s3(monkeypatch) -> Iterator[object]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        s3 = boto3.client("s3", region_name="us-east-1")
        s3.create_bucket(Bucket="bucket")
        yield s3


@pytest.fixture
def objects(s3, memory) -> EncryptedObjects:
    return EncryptedObjects(s3, memory.client(), "bucket")


@pytest.mark.parametrize("size", [0, 1, 1000, len(PLAIN)])
def test_an_object_comes_back_and_s3_sees_none_of_it(objects, s3, memory, mine, size):
    edek = objects.put("key", io.BytesIO(PLAIN[:size]), mine, {"ContentType": "text/plain", "Metadata": {"a": "b"}})
    assert objects.get("key", mine) == PLAIN[:size]
    found = s3.get_object(Bucket="bucket", Key="key")
    assert found["ContentType"] == "text/plain"
    assert found["Metadata"] == {"a": "b", EDEK_METADATA: edek}
    value = EncryptedValue(found["Body"].read(), edek)
    assert memory.client().decrypt_value(value, mine) == PLAIN[:size]


def test_files_go_and_come_back(objects, mine, tmp_path):
    (tmp_path / "plain").write_bytes(PLAIN)
    objects.upload(tmp_path / "plain", "key", mine)
    objects.download("key", tmp_path / "opened", mine)
    assert (tmp_path / "opened").read_bytes() == PLAIN


def test_an_object_that_was_changed_is_not_there(objects, s3, mine, tmp_path):
    objects.put("key", b"plaintext", mine)
    found = s3.get_object(Bucket="bucket", Key="key")
    s3.put_object(Bucket="bucket", Key="key", Body=found["Body"].read()[:-1], Metadata=found["Metadata"])
    with pytest.raises(DocumentError):
        objects.download("key", tmp_path / "opened", mine)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DocumentError):
        objects.get("key", mine)


def test_another_tenants_object_is_not_read(objects, mine, theirs):
    objects.put("key", b"plaintext", mine)
    with pytest.raises(KmsError):
        objects.get("key", theirs)


def test_an_object_without_an_edek_says_so(objects, s3, mine):
    s3.put_object(Bucket="bucket", Key="key", Body=b"plain")
    with pytest.raises(DocumentError, match="not encrypted here"):
        objects.get("key", mine)


def test_a_rekeyed_object_belongs_to_its_new_tenant(objects, s3, mine, theirs):
    objects.put("key", b"plaintext", mine, {"ContentType": "text/plain", "Metadata": {"a": "b"}})
    objects.rekey("key", mine, new_tenant_id=theirs.tenant_id)
    assert objects.get("key", theirs) == b"plaintext"
    found = s3.head_object(Bucket="bucket", Key="key")
    assert (found["ContentType"], found["Metadata"]["a"]) == ("text/plain", "b")


def test_an_upload_that_fails_leaves_no_object(objects, s3, memory):
    class Broken(io.RawIOBase):
        def read(self, _size: int = -1) -> bytes:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="gone"):
        objects.put("key", Broken(), Metadata("t", requesting_id="r"))
    assert s3.list_objects_v2(Bucket="bucket")["KeyCount"] == 0
    assert memory
