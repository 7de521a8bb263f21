"""What services report, and connection tests."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "service_instances",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("instance", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("report", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_service_instances_vendor")),
        sa.PrimaryKeyConstraint("vendor", "service", "instance", name=op.f("pk_service_instances")),
    )
    op.create_index("ix_service_instances_seen", "service_instances", ["vendor", "service", "seen_ms"])
    op.create_table(
        "activity",
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("bucket_ms", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_activity_vendor")),
        sa.PrimaryKeyConstraint("vendor", "tenant", "bucket_ms", "what", name=op.f("pk_activity")),
    )
    op.create_index("ix_activity_bucket", "activity", ["vendor", "bucket_ms"])
    op.create_table(
        "config_tests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("vendor", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Integer(), nullable=False),
        sa.Column("tenant_id", sa.Text(), nullable=False),
        sa.Column("config", sa.Integer(), nullable=False),
        sa.Column("segment", sa.Integer(), nullable=False),
        sa.Column("taker", sa.Text(), nullable=False),
        sa.Column("created_by_kind", sa.Text(), nullable=False),
        sa.Column("created_by_id", sa.Text(), nullable=False),
        sa.Column("created_by_name", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("taken_ms", sa.BigInteger(), nullable=True),
        sa.Column("taken_by", sa.Text(), nullable=True),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.Column("report", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["tenant"], ["tenants.number"], name=op.f("fk_config_tests_tenant"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["vendor"], ["vendors.id"], name=op.f("fk_config_tests_vendor")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_config_tests")),
    )
    op.create_index("ix_config_tests_waiting", "config_tests", ["vendor", "segment", "expires_ms"])
    op.create_index("ix_config_tests_tenant", "config_tests", ["tenant"])
