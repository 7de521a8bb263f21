"""Entry point of the ``tenant-security`` command."""

import sys


def main() -> None:
    """Run the command line: whole, or the client's part where the server is not installed; else say what is missing."""
    try:
        from tenant_security.cli.app import run  # noqa: PLC0415 - the base install has no command-line libraries
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == "tenant_security":
            raise
        _run_the_clients(missing.name or "")
        return
    run()


def _run_the_clients(missing: str) -> None:
    try:
        from tenant_security.cli import client_app  # noqa: PLC0415 - as above
    except ModuleNotFoundError as lacks:
        sys.exit(
            f"tenant-security: the command line needs the package {lacks.name!r}; "
            "install it with: pip install 'tenant-security[cli]'"
        )
    client_app.run(missing)


if __name__ == "__main__":
    main()
