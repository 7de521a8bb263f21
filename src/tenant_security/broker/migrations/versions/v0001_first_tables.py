"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "people",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("passphrase_hash", sa.Text(), nullable=True),
        sa.Column("totp_sealed", sa.LargeBinary(), nullable=True),
        sa.Column("totp_last_step", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("key_bundle", sa.LargeBinary(), nullable=True),
        sa.Column("key_claim", sa.LargeBinary(), nullable=True),
        sa.Column("keys_ms", sa.BigInteger(), nullable=True),
        sa.Column("verified_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("email = lower(email)", name=op.f("ck_people_email_is_lower_case")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint("email", name=op.f("uq_people_email")),
    )
    op.create_table(
        "sign_in_failures",
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("blocked_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_in_failures")),
    )
    op.create_index("ix_sign_in_failures_updated_ms", "sign_in_failures", ["updated_ms"], unique=False)
    op.create_table(
        "vendors",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("root_fingerprint", sa.Text(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("root_version", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("manifest_version", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("changes_from", sa.BigInteger(), nullable=False),
        sa.Column("next_config", sa.Integer(), nullable=False),
        sa.Column("next_secret", sa.BigInteger(), nullable=False),
        sa.Column("leasing_required_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_vendors")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'admin', 'auditor')", name=op.f("ck_api_keys_role_known")),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_api_keys_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index("ix_api_keys_vendor", "api_keys", ["vendor"], unique=False)
    op.create_table(
        "audit",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("actor_id", sa.Text(), nullable=False),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_audit_vendor")),
        sa.PrimaryKeyConstraint("vendor", "seq", name=op.f("pk_audit")),
    )
    op.create_index("ix_audit_vendor_tenant_seq", "audit", ["vendor", "tenant", "seq"], unique=False)
    op.create_table(
        "heads",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=False),
        sa.Column("snapshot_version", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_heads_vendor")),
        sa.PrimaryKeyConstraint("vendor", "segment", name=op.f("pk_heads")),
    )
    op.create_table(
        "invitations",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("signed", sa.LargeBinary(), nullable=True),
        sa.Column("proof", sa.LargeBinary(), nullable=True),
        sa.Column("person", sa.Text(), nullable=True),
        sa.Column("mailed_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("accepted_ms", sa.BigInteger(), nullable=True),
        sa.Column("withdrawn_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'admin', 'auditor')", name=op.f("ck_invitations_role_known")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_invitations_person"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_invitations_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invitations")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_invitations_token_hash")),
    )
    op.create_index("ix_invitations_vendor_tenant", "invitations", ["vendor", "tenant"], unique=False)
    op.create_table(
        "memberships",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("role IN ('owner', 'admin', 'auditor')", name=op.f("ck_memberships_role_known")),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_memberships_person"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_memberships_vendor")),
        sa.PrimaryKeyConstraint("person", "vendor", "tenant", name=op.f("pk_memberships")),
    )
    op.create_index("ix_memberships_vendor_tenant", "memberships", ["vendor", "tenant"], unique=False)
    op.create_table(
        "passkeys",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_passkeys_person"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkeys")),
    )
    op.create_index("ix_passkeys_person", "passkeys", ["person"], unique=False)
    op.create_table(
        "recovery_codes",
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_recovery_codes_person"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("person", "hash", name=op.f("pk_recovery_codes")),
    )
    op.create_table(
        "removed_configs",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_removed_configs_vendor")),
        sa.PrimaryKeyConstraint("vendor", "number", name=op.f("pk_removed_configs")),
    )
    op.create_index("ix_removed_configs_vendor_revision", "removed_configs", ["vendor", "revision"], unique=False)
    op.create_table(
        "removed_tenants",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_removed_tenants_vendor")),
        sa.PrimaryKeyConstraint("vendor", "id", name=op.f("pk_removed_tenants")),
    )
    op.create_index("ix_removed_tenants_vendor_revision", "removed_tenants", ["vendor", "revision"], unique=False)
    op.create_table(
        "segment_wraps",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("suite", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_segment_wraps_vendor")),
        sa.PrimaryKeyConstraint("vendor", "segment", "epoch", "recipient", name=op.f("pk_segment_wraps")),
    )
    op.create_table(
        "service_accounts",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("suite", sa.Integer(), nullable=False),
        sa.Column("encryption", sa.LargeBinary(), nullable=False),
        sa.Column("signing", sa.LargeBinary(), nullable=False),
        sa.Column("signing_key_id", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=True),
        sa.Column("seen_version", sa.Text(), nullable=True),
        sa.Column("seen_revision", sa.BigInteger(), nullable=True),
        sa.Column("seen_report", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("kind IN ('proxy', 'logdriver', 'bridge')", name=op.f("ck_service_accounts_kind_known")),
        sa.CheckConstraint(
            "status IN ('requested', 'active', 'revoked')", name=op.f("ck_service_accounts_status_known")
        ),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_service_accounts_vendor")),
        sa.PrimaryKeyConstraint("vendor", "id", name=op.f("pk_service_accounts")),
        sa.UniqueConstraint("signing_key_id", name=op.f("uq_service_accounts_signing_key_id")),
        sa.UniqueConstraint("vendor", "config", name=op.f("uq_service_accounts_vendor_config")),
    )
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("proved_ms", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("sso_vendor", sa.Text(), nullable=True),
        sa.Column("sso_tenant", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name=op.f("fk_sessions_person"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_ms", "sessions", ["expires_ms"], unique=False)
    op.create_index("ix_sessions_person", "sessions", ["person"], unique=False)
    op.create_table(
        "single_sign_ons",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("client_secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("required", sa.Boolean(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_single_sign_ons_vendor")),
        sa.PrimaryKeyConstraint("vendor", "tenant", name=op.f("pk_single_sign_ons")),
    )
    op.create_table(
        "single_sign_on_subjects",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person"], ["people.id"], name=op.f("fk_single_sign_on_subjects_person"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_single_sign_on_subjects_vendor")),
        sa.PrimaryKeyConstraint("vendor", "tenant", "issuer", "subject", name=op.f("pk_single_sign_on_subjects")),
        sa.UniqueConstraint(
            "vendor",
            "tenant",
            "issuer",
            "person",
            name=op.f("uq_single_sign_on_subjects_vendor_tenant_issuer_person"),
        ),
    )
    op.create_table(
        "used_ceremonies",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_used_ceremonies")),
    )
    op.create_index("ix_used_ceremonies_expires_ms", "used_ceremonies", ["expires_ms"], unique=False)
    op.create_table(
        "tags",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_tags_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tags")),
        sa.UniqueConstraint("vendor", "text", name=op.f("uq_tags_vendor_text")),
    )
    op.create_index(
        "ix_tags_one_default",
        "tags",
        ["vendor"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )
    op.create_table(
        "tenants",
        sa.Column("number", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=True),
        sa.Column("record_version", sa.BigInteger(), nullable=False),
        sa.Column("authors", sa.LargeBinary(), nullable=True),
        sa.Column("authors_version", sa.BigInteger(), nullable=False),
        sa.Column("leasing_required", sa.Boolean(), nullable=False),
        sa.Column("own_configs", sa.Integer(), nullable=False),
        sa.Column("own_config_removed_ms", sa.BigInteger(), nullable=True),
        sa.Column("invited_ms", sa.BigInteger(), nullable=True),
        sa.Column("accepted_ms", sa.BigInteger(), nullable=True),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("own_configs >= 0", name=op.f("ck_tenants_own_configs_counted")),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_tenants_vendor")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tenants")),
        sa.UniqueConstraint("vendor", "id", name=op.f("uq_tenants_vendor_id")),
    )
    op.create_index("ix_tenants_vendor_revision", "tenants", ["vendor", "revision"], unique=False)
    op.create_table(
        "approval_rules",
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant"], ["tenants.number"], name=op.f("fk_approval_rules_tenant"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_approval_rules")),
    )
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("change", sa.LargeBinary(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("decided_by_kind", sa.Text(), nullable=True),
        sa.Column("decided_by_id", sa.Text(), nullable=True),
        sa.Column("decided_by_name", sa.Text(), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'approved', 'refused')", name=op.f("ck_approvals_state_known")),
        sa.CheckConstraint("kind IN ('documents', 'rule')", name=op.f("ck_approvals_kind_known")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.number"], name=op.f("fk_approvals_tenant"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_approvals_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
    )
    op.create_index("ix_approvals_vendor_tenant", "approvals", ["vendor", "tenant"], unique=False)
    op.create_table(
        "configs",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("leasing_allowed", sa.Boolean(), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("commit", sa.LargeBinary(), nullable=False),
        sa.Column("author", sa.Text(), nullable=False),
        sa.Column("sig", sa.LargeBinary(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('kms', 'sink')", name=op.f("ck_configs_kind_known")),
        sa.ForeignKeyConstraint(["owner"], ["tenants.number"], name=op.f("fk_configs_owner")),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_configs_vendor")),
        sa.PrimaryKeyConstraint("vendor", "number", name=op.f("pk_configs")),
    )
    op.create_index("ix_configs_owner", "configs", ["owner"], unique=False)
    op.create_index("ix_configs_vendor_revision", "configs", ["vendor", "revision"], unique=False)
    op.create_table(
        "tenant_secrets",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("encrypted_secret", sa.LargeBinary(), nullable=False),
        sa.Column("migration", sa.Text(), nullable=False),
        sa.Column("rotation", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "migration IN ('current', 'needs-migration')", name=op.f("ck_tenant_secrets_migration_known")
        ),
        sa.CheckConstraint(
            "rotation IN ('current', 'in-rotation', 'archived')", name=op.f("ck_tenant_secrets_rotation_known")
        ),
        sa.CheckConstraint("type IN ('search', 'deterministic', 'vector')", name=op.f("ck_tenant_secrets_type_known")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.number"], name=op.f("fk_tenant_secrets_tenant")),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_tenant_secrets_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tenant_secrets")),
        sa.UniqueConstraint("vendor", "number", name=op.f("uq_tenant_secrets_vendor_number")),
    )
    op.create_index(
        "ix_tenant_secrets_one_current",
        "tenant_secrets",
        ["tenant", "type", "path"],
        unique=True,
        sqlite_where=sa.text("rotation = 'current'"),
        postgresql_where=sa.text("rotation = 'current'"),
    )
    op.create_index(
        "ix_tenant_secrets_one_in_rotation",
        "tenant_secrets",
        ["tenant", "type", "path"],
        unique=True,
        sqlite_where=sa.text("rotation = 'in-rotation'"),
        postgresql_where=sa.text("rotation = 'in-rotation'"),
    )
    op.create_table(
        "tenant_tags",
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("tag", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["tag"], ["tags.id"], name=op.f("fk_tenant_tags_tag"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.number"], name=op.f("fk_tenant_tags_tenant"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("tenant", "tag", name=op.f("pk_tenant_tags")),
    )
    op.create_index("ix_tenant_tags_tag", "tenant_tags", ["tag"], unique=False)
    op.create_table(
        "assignments",
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("is_primary", sa.Boolean(), nullable=False),
        sa.Column("leasing", sa.Boolean(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("active OR NOT is_primary", name=op.f("ck_assignments_primary_is_active")),
        sa.ForeignKeyConstraint(["tenant"], ["tenants.number"], name=op.f("fk_assignments_tenant"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["vendor", "config"], ["configs.vendor", "configs.number"], name=op.f("fk_assignments_vendor_config")
        ),
        sa.PrimaryKeyConstraint("tenant", "config", name=op.f("pk_assignments")),
    )
    op.create_index("ix_assignments_config", "assignments", ["vendor", "config"], unique=False)
    op.create_index(
        "ix_assignments_one_primary",
        "assignments",
        ["tenant"],
        unique=True,
        sqlite_where=sa.text("is_primary"),
        postgresql_where=sa.text("is_primary"),
    )
    op.create_table(
        "config_wraps",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("suite", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["vendor", "config"],
            ["configs.vendor", "configs.number"],
            name=op.f("fk_config_wraps_vendor_config"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("vendor", "config", "segment", name=op.f("pk_config_wraps")),
    )
