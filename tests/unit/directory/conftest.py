"""A vendor whose world a test can rewrite: change the roster, the lines of the file or the time, then refresh."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tenant_security.authoring.roster import Roster, assign
from tenant_security.authoring.snapshot_writer import write_snapshot
from tenant_security.authoring.vendor import Vendor
from tenant_security.crypto.signing import SigningKey
from tenant_security.crypto.unseal import new_seed
from tenant_security.directory.tenants import EMPTY_DIRECTORY, TenantDirectory
from tenant_security.directory.verify import SnapshotVerifier
from tenant_security.wire import snapshot as words

START_S = 1_800_000_000


def config_json(name: str) -> bytes:
    """A local KMS config that can be told from others by its key id."""
    keys = {"1": base64.b64encode(bytes(32)).decode()}
    return json.dumps(
        {"type": "LOCAL", "version": 1, "credentials": {"keys": keys}, "keyPath": {"keyId": name}}
    ).encode()


class World:
    """One vendor, one proxy, and the file between them."""

    def __init__(self, directory: Path) -> None:
        self.now_s = START_S
        self.vendor = Vendor.create(directory / "vendor", "acme", clock=lambda: self.now_s)
        self.credentials = self.vendor.add_identity("proxy-1")
        self.roster = Roster(self.vendor)
        self.path = directory / "tenants.snapshot"
        self.directory: TenantDirectory = EMPTY_DIRECTORY
        self.reused = 0

    def tenant(self, name: str, config: int, text: str | None = None, **use: bool) -> None:
        """Set a tenant with one config of its own."""
        options = {"primary": True, "leasing": True, **use}
        self.roster.put_tenant(name, [assign(config, **options)], configs={config: config_json(text or name)})

    def tenants(self, *names: str) -> None:
        """Set tenants whose configs are numbered from 1."""
        for number, name in enumerate(names, 1):
            self.tenant(name, number)

    def tenant_admin(
        self, tenant: str, may: tuple[words.May, ...] = (words.May.RECORD, words.May.CONFIG)
    ) -> SigningKey:
        """Let a new key author one tenant."""
        key = SigningKey(new_seed())
        self.vendor.add_author(key.public, f"admin of {tenant}", tenant=tenant, may=may)
        return key

    def write(self, *, head_life_s: int | None = None) -> list[bytes]:
        """Write the roster, a second later than before, and return the file's lines."""
        self.now_s += 1
        write_snapshot(self.vendor, self.path, self.roster, head_life_s=head_life_s)
        return self.lines()

    def lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines()

    def put(self, lines: list[bytes]) -> None:
        """Replace the file's lines as an attacker can, who knows how many there should be."""
        header = words.decode(words.SnapshotHeader, lines[0])
        first = words.encode(msgspec.structs.replace(header, lines=len(lines) - 1))
        self.path.write_bytes(b"".join(line + b"\n" for line in [first, *lines[1:]]))

    def change_header(self, **changes: object) -> None:
        lines = self.lines()
        header = words.decode(words.SnapshotHeader, lines[0])
        lines[0] = words.encode(msgspec.structs.replace(header, **changes))
        self.put(lines)

    def header(self) -> words.SnapshotHeader:
        return words.decode(words.SnapshotHeader, self.lines()[0])

    def entry(self, tenant: str, lines: list[bytes] | None = None) -> words.TenantLine:
        for line in (lines or self.lines())[1:]:
            entry = words.decode_line(line)
            if isinstance(entry, words.TenantLine) and entry.tenant == tenant:
                return entry
        raise AssertionError(tenant)

    def change_entry(self, tenant: str, change: Callable[[words.TenantLine], words.TenantLine | bytes]) -> None:
        """Replace one tenant's line."""
        lines = self.lines()
        for number, line in enumerate(lines[1:], 1):
            entry = words.decode_line(line)
            if isinstance(entry, words.TenantLine) and entry.tenant == tenant:
                changed = change(entry)
                lines[number] = changed if isinstance(changed, bytes) else words.encode(changed)
        self.put(lines)

    def verify(self, lines: list[bytes] | None = None, *, pinned: str | None = None) -> TenantDirectory:
        """Judge the file against the directory in use, and do not take it into use."""
        lines = self.lines() if lines is None else lines
        verifier = SnapshotVerifier(
            lines[0],
            pinned=pinned or self.credentials.root_fingerprint,
            credentials=self.credentials,
            now_s=self.now_s,
            previous=self.directory,
            source="test",
        )
        verifier.add(lines[1:])
        directory = verifier.finish()
        self.reused = verifier.reused
        return directory

    def refresh(self) -> TenantDirectory:
        """Judge the file and take it into use."""
        self.directory = self.verify()
        return self.directory

    def key_name(self, tenant: str) -> str:
        """Open a tenant's primary config and return the name of its key."""
        found = self.directory.tenant(tenant)
        assert found is not None
        assert found.primary is not None
        return found.primary.config.open().key_path.key_id


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
