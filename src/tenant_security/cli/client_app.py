"""The command where only the ``cli`` extra is installed: what an application's operators need, without the server."""

import sys

from cyclopts import App

from tenant_security import __version__
from tenant_security.cli import files, rekey_campaign

app = App(
    name="tenant-security",
    version=__version__,
    help="""Encrypt each customer's data with keys that the customer holds.

These are the client's commands. Those of the proxy, the broker and the other daemons need what
pip install 'tenant-security[all]' brings.
""",
    help_format="plaintext",
)
for command in (files.encrypt, files.decrypt, files.inspect, rekey_campaign.rekey_campaign):
    app.command(command)


def run(missing: str) -> None:
    """Run one of them; another command is told which package it lacks."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    if asked and not asked.startswith("-") and asked not in app:
        sys.exit(f"tenant-security: {asked!r} needs the package {missing!r}: pip install 'tenant-security[all]'")
    app()
