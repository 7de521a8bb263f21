"""Tenant secrets are bound to their place, and wrapped anew when their tenant has another primary."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    table = "tenant_secrets"
    op.add_column(table, sa.Column("binding", sa.LargeBinary(), nullable=True))
    op.add_column(table, sa.Column("bound", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column(table, sa.Column("lent_until_ms", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
    op.add_column(table, sa.Column("trouble", sa.Text(), server_default="", nullable=False))
