"""API keys for less than their role: some scopes, some tenants. Keys that are there keep what they may."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. A constraint that stands with its column needs no new table in SQLite."""
    for column in ("scopes", "tenants"):
        name = f"ck_api_keys_{column}_not_empty"
        op.execute(f"ALTER TABLE api_keys ADD COLUMN {column} TEXT CONSTRAINT {name} CHECK ({column} <> '[]')")
