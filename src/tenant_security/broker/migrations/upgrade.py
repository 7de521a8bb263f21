"""Brings a database to the newest tables. Run it before serving; it is one transaction, and none is half done."""

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

_HERE: Final = Path(__file__).parent


def upgrade(connection: sa.Connection, to: str = "head") -> None:
    """Bring the database that this connection is to up to date, or as far as one step."""
    command.upgrade(_config(connection), to)


def is_current(connection: sa.Connection) -> bool:
    """Whether the database has the newest tables."""
    heads = set(ScriptDirectory.from_config(_config(connection)).get_heads())
    return set(MigrationContext.configure(connection).get_current_heads()) == heads


def _config(connection: sa.Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_HERE))
    config.attributes["connection"] = connection
    return config
