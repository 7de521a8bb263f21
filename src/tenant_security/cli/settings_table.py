"""Every setting of a daemon as a table, for ``--settings``."""

from typing import Any

from rich.console import Console
from rich.table import Table

from tenant_security.service.settings import settings_of


def print_settings(daemon: str, kind: type[Any]) -> None:
    """Print name, default and meaning of every setting of ``kind``."""
    table = Table("Setting", "Default", "Meaning", title=f"Settings of the {daemon}", show_lines=True)
    for each in settings_of(kind):
        default = "required" if each.required else "" if each.default is None else str(each.default)
        table.add_row(each.name, f"{default} {each.unit}".strip(), each.meaning)
    Console().print(table)
