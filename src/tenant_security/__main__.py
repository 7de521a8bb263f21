"""Entry point of the ``tenant-security`` command."""

import sys


def main() -> None:
    """Run the command line, or say which extra it needs."""
    try:
        from tenant_security.cli.app import run  # noqa: PLC0415 - the base install has no command-line libraries
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] == "tenant_security":
            raise
        sys.exit(
            f"tenant-security: the command line needs the package {missing.name!r}; "
            "install it with: pip install 'tenant-security[all]'"
        )
    run()


if __name__ == "__main__":
    main()
