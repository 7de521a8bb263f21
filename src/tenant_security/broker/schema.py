"""The broker's tables.

What tenants and vendors have signed stands in here as the bytes that they signed. Columns beside such a document say
again what it says, so that it can be found, counted and constrained; they are written in the same transaction, and only
from the document.

Units: ``*_ms`` are Unix milliseconds. ``revision`` counts a vendor's changes; a row carries the revision of the change
that last touched what proxies see of it.
Source: docs/broker/data.md.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _made() -> list[Column[object]]:
    """Who made a row, and when."""
    return [
        Column("created_by_kind", Text, nullable=False),
        Column("created_by_id", Text, nullable=False),
        Column("created_by_name", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
    ]


def _one_of(column: str, *values: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


# -- a vendor and its keys ---------------------------------------------------------------------------------------------

vendors: Final = Table(
    "vendors",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("root_fingerprint", Text, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("root_version", BigInteger, nullable=False),
    Column("manifest", LargeBinary, nullable=False),
    Column("manifest_version", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("changes_from", BigInteger, nullable=False),
    Column("next_config", Integer, nullable=False),
    Column("next_secret", BigInteger, nullable=False),
    Column("leasing_required_default", Boolean, nullable=False, server_default=text("false")),
    *_made(),
)

segment_wraps: Final = Table(
    "segment_wraps",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("segment", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("suite", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("vendor", "segment", "epoch", "recipient"),
)

heads: Final = Table(
    "heads",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("segment", Integer, nullable=False),
    Column("signed", LargeBinary, nullable=False),
    Column("snapshot_version", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("vendor", "segment"),
)

service_accounts: Final = Table(
    "service_accounts",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("config", Integer, nullable=False),
    Column("suite", Integer, nullable=False),
    Column("encryption", LargeBinary, nullable=False),
    Column("signing", LargeBinary, nullable=False),
    Column("signing_key_id", Text, nullable=False, unique=True),
    Column("fingerprint", Text, nullable=False),
    Column("status", Text, nullable=False),
    *_made(),
    Column("changed_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger),
    Column("seen_version", Text),
    Column("seen_revision", BigInteger),
    Column("seen_report", LargeBinary),
    PrimaryKeyConstraint("vendor", "id"),
    UniqueConstraint("vendor", "config"),
    _one_of("kind", "proxy", "logdriver", "bridge"),
    _one_of("status", "requested", "active", "revoked"),
)

# -- tenants and what they use -----------------------------------------------------------------------------------------

tags: Final = Table(
    "tags",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("is_default", Boolean, nullable=False),
    *_made(),
    UniqueConstraint("vendor", "text"),
    Index(
        "ix_tags_one_default",
        "vendor",
        unique=True,
        sqlite_where=text("is_default"),
        postgresql_where=text("is_default"),
    ),
)

tenants: Final = Table(
    "tenants",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("record", LargeBinary),
    Column("record_version", BigInteger, nullable=False),
    Column("authors", LargeBinary),
    Column("authors_version", BigInteger, nullable=False),
    Column("leasing_required", Boolean, nullable=False),
    Column("own_configs", Integer, nullable=False),
    Column("own_config_removed_ms", BigInteger),
    Column("invited_ms", BigInteger),
    Column("accepted_ms", BigInteger),
    *_made(),
    Column("updated_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    UniqueConstraint("vendor", "id"),
    Index("ix_tenants_vendor_revision", "vendor", "revision"),
    CheckConstraint("own_configs >= 0", name="own_configs_counted"),
)

removed_tenants: Final = Table(
    "removed_tenants",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("vendor", "id"),
    Index("ix_removed_tenants_vendor_revision", "vendor", "revision"),
)

removed_configs: Final = Table(
    "removed_configs",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("vendor", "number"),
    Index("ix_removed_configs_vendor_revision", "vendor", "revision"),
)

tenant_tags: Final = Table(
    "tenant_tags",
    metadata,
    Column("tenant", ForeignKey("tenants.number", ondelete="CASCADE"), nullable=False),
    Column("tag", ForeignKey("tags.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("tenant", "tag"),
    Index("ix_tenant_tags_tag", "tag"),
)

configs: Final = Table(
    "configs",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("owner", ForeignKey("tenants.number")),
    Column("kind", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("leasing_allowed", Boolean, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("commit", LargeBinary, nullable=False),
    Column("author", Text, nullable=False),
    Column("sig", LargeBinary, nullable=False),
    *_made(),
    Column("updated_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    PrimaryKeyConstraint("vendor", "number"),
    _one_of("kind", "kms", "sink"),
    Index("ix_configs_vendor_revision", "vendor", "revision"),
    Index("ix_configs_owner", "owner"),
)

config_wraps: Final = Table(
    "config_wraps",
    metadata,
    Column("vendor", Text, nullable=False),
    Column("config", Integer, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("suite", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    PrimaryKeyConstraint("vendor", "config", "segment"),
    ForeignKeyConstraint(["vendor", "config"], ["configs.vendor", "configs.number"], ondelete="CASCADE"),
)

assignments: Final = Table(
    "assignments",
    metadata,
    Column("tenant", ForeignKey("tenants.number", ondelete="CASCADE"), nullable=False),
    Column("vendor", Text, nullable=False),
    Column("config", Integer, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("is_primary", Boolean, nullable=False),
    Column("leasing", Boolean, nullable=False),
    *_made(),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "config"),
    ForeignKeyConstraint(["vendor", "config"], ["configs.vendor", "configs.number"]),
    CheckConstraint("active OR NOT is_primary", name="primary_is_active"),
    Index("ix_assignments_config", "vendor", "config"),
    Index(
        "ix_assignments_one_primary",
        "tenant",
        unique=True,
        sqlite_where=text("is_primary"),
        postgresql_where=text("is_primary"),
    ),
)

tenant_secrets: Final = Table(
    "tenant_secrets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("tenant", ForeignKey("tenants.number"), nullable=False),
    Column("type", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("config", Integer, nullable=False),
    Column("encrypted_secret", LargeBinary, nullable=False),
    Column("migration", Text, nullable=False),
    Column("rotation", Text, nullable=False),
    *_made(),
    Column("updated_ms", BigInteger, nullable=False),
    Column("binding", LargeBinary),
    Column("bound", Boolean, nullable=False, server_default=text("false")),
    Column("lent_until_ms", BigInteger, nullable=False, server_default=text("0")),
    Column("trouble", Text, nullable=False, server_default=""),
    UniqueConstraint("vendor", "number"),
    _one_of("type", "search", "deterministic", "vector"),
    _one_of("migration", "current", "needs-migration"),
    _one_of("rotation", "current", "in-rotation", "archived"),
    Index(
        "ix_tenant_secrets_one_current",
        "tenant",
        "type",
        "path",
        unique=True,
        sqlite_where=text("rotation = 'current'"),
        postgresql_where=text("rotation = 'current'"),
    ),
    Index(
        "ix_tenant_secrets_one_in_rotation",
        "tenant",
        "type",
        "path",
        unique=True,
        sqlite_where=text("rotation = 'in-rotation'"),
        postgresql_where=text("rotation = 'in-rotation'"),
    ),
)

# -- people ------------------------------------------------------------------------------------------------------------

people: Final = Table(
    "people",
    metadata,
    Column("id", Text, primary_key=True),
    Column("email", Text, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("passphrase_hash", Text),
    Column("totp_sealed", LargeBinary),
    Column("totp_last_step", BigInteger, nullable=False, server_default=text("0")),
    Column("key_bundle", LargeBinary),
    Column("key_claim", LargeBinary),
    Column("keys_ms", BigInteger),
    Column("verified_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("disabled_ms", BigInteger),
    CheckConstraint("email = lower(email)", name="email_is_lower_case"),
)

memberships: Final = Table(
    "memberships",
    metadata,
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", Integer, nullable=False, server_default=text("0")),
    Column("role", Text, nullable=False),
    *_made(),
    Column("disabled_ms", BigInteger),
    PrimaryKeyConstraint("person", "vendor", "tenant"),
    _one_of("role", "owner", "admin", "auditor"),
    Index("ix_memberships_vendor_tenant", "vendor", "tenant"),
)
"""``tenant`` is a tenant's number, or 0 for the vendor's own people."""

passkeys: Final = Table(
    "passkeys",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("public_key", LargeBinary, nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    Index("ix_passkeys_person", "person"),
)

recovery_codes: Final = Table(
    "recovery_codes",
    metadata,
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("used_ms", BigInteger),
    PrimaryKeyConstraint("person", "hash"),
)

sessions: Final = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("proved_ms", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("sso_vendor", Text),
    Column("sso_tenant", Integer),
    Index("ix_sessions_person", "person"),
    Index("ix_sessions_expires_ms", "expires_ms"),
)

invitations: Final = Table(
    "invitations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", Integer, nullable=False),
    Column("email", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("signed", LargeBinary),
    Column("proof", LargeBinary),
    Column("person", ForeignKey("people.id", ondelete="SET NULL")),
    Column("mailed_ms", BigInteger),
    *_made(),
    Column("expires_ms", BigInteger, nullable=False),
    Column("accepted_ms", BigInteger),
    Column("withdrawn_ms", BigInteger),
    _one_of("role", "owner", "admin", "auditor"),
    Index("ix_invitations_vendor_tenant", "vendor", "tenant"),
)

single_sign_ons: Final = Table(
    "single_sign_ons",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", Integer, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("client_id", Text, nullable=False),
    Column("client_secret_sealed", LargeBinary, nullable=False),
    Column("required", Boolean, nullable=False),
    *_made(),
    PrimaryKeyConstraint("vendor", "tenant"),
)

single_sign_on_subjects: Final = Table(
    "single_sign_on_subjects",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", Integer, nullable=False),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("person", ForeignKey("people.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("vendor", "tenant", "issuer", "subject"),
    UniqueConstraint(
        "vendor", "tenant", "issuer", "person", name="uq_single_sign_on_subjects_vendor_tenant_issuer_person"
    ),
)
"""Who an organisation's provider means by a subject: written when somebody first comes from there."""

used_ceremonies: Final = Table(
    "used_ceremonies",
    metadata,
    Column("hash", LargeBinary, primary_key=True),
    Column("expires_ms", BigInteger, nullable=False),
    Index("ix_used_ceremonies_expires_ms", "expires_ms"),
)

sign_in_failures: Final = Table(
    "sign_in_failures",
    metadata,
    Column("subject", LargeBinary, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("blocked_until_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Index("ix_sign_in_failures_updated_ms", "updated_ms"),
)

api_keys: Final = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("role", Text, nullable=False),
    *_made(),
    Column("expires_ms", BigInteger),
    Column("used_ms", BigInteger),
    Column("revoked_ms", BigInteger),
    # Lists as JSON. None: everything that the role may, every tenant. A key is never made for nothing.
    Column("scopes", Text),
    Column("tenants", Text),
    _one_of("role", "owner", "admin", "auditor"),
    CheckConstraint("scopes <> '[]'", name="scopes_not_empty"),
    CheckConstraint("tenants <> '[]'", name="tenants_not_empty"),
    Index("ix_api_keys_vendor", "vendor"),
)

approvals: Final = Table(
    "approvals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", ForeignKey("tenants.number", ondelete="CASCADE"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("change", LargeBinary, nullable=False),
    Column("summary", Text, nullable=False),
    Column("state", Text, nullable=False),
    *_made(),
    Column("expires_ms", BigInteger, nullable=False),
    Column("decided_by_kind", Text),
    Column("decided_by_id", Text),
    Column("decided_by_name", Text),
    Column("decided_ms", BigInteger),
    _one_of("state", "waiting", "approved", "refused"),
    _one_of("kind", "documents", "rule"),
    Index("ix_approvals_vendor_tenant", "vendor", "tenant"),
)

approval_rules: Final = Table(
    "approval_rules",
    metadata,
    Column("tenant", ForeignKey("tenants.number", ondelete="CASCADE"), primary_key=True),
    *_made(),
)
"""A tenant that stands in here has asked that a second person approve every change of its KMS configs."""

# -- the fleet ---------------------------------------------------------------------------------------------------------

service_instances: Final = Table(
    "service_instances",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("service", Text, nullable=False),
    Column("instance", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("report", LargeBinary, nullable=False),
    PrimaryKeyConstraint("vendor", "service", "instance"),
    Index("ix_service_instances_seen", "vendor", "service", "seen_ms"),
)

activity: Final = Table(
    "activity",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("bucket_ms", BigInteger, nullable=False),
    Column("what", Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    PrimaryKeyConstraint("vendor", "tenant", "bucket_ms", "what"),
    Index("ix_activity_bucket", "vendor", "bucket_ms"),
)

config_tests: Final = Table(
    "config_tests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("tenant", ForeignKey("tenants.number", ondelete="CASCADE"), nullable=False),
    Column("tenant_id", Text, nullable=False),
    Column("config", Integer, nullable=False),
    Column("segment", Integer, nullable=False),
    Column("taker", Text, nullable=False),
    *_made(),
    Column("expires_ms", BigInteger, nullable=False),
    Column("taken_ms", BigInteger),
    Column("taken_by", Text),
    Column("done_ms", BigInteger),
    Column("report", LargeBinary),
    Index("ix_config_tests_waiting", "vendor", "segment", "expires_ms"),
    Index("ix_config_tests_tenant", "tenant"),
)

# -- what happened -----------------------------------------------------------------------------------------------------

audit: Final = Table(
    "audit",
    metadata,
    Column("vendor", ForeignKey("vendors.id"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text, nullable=False),
    Column("actor_name", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("vendor", "seq"),
    Index("ix_audit_vendor_tenant_seq", "vendor", "tenant", "seq"),
)
