"""The ``tenant-security`` command: one subcommand per program and tool. Heavy imports happen inside commands."""

import sys
from typing import Annotated, Literal

from cyclopts import App, Parameter

from tenant_security import __version__
from tenant_security.cli import (
    admin,
    api_key,
    apply,
    audit,
    broker,
    doctor,
    events,
    files,
    fleet,
    head,
    identity,
    kms,
    kms_configs,
    rekey_campaign,
    secrets,
    segment,
    sink,
    snapshot,
    snapshot_export,
    tenant,
    top,
    vendor,
)
from tenant_security.errors import SettingsError
from tenant_security.service.run import EXIT_SETTINGS

app = App(
    name="tenant-security",
    version=__version__,
    help="""Encrypt each customer's data with keys that the customer holds.

Start here:

    tenant-security dev                 a complete demo on this machine, with tenants and a local KMS

In production:

    tenant-security broker              run the Configuration Broker
    tenant-security vendor init ...     make a vendor's keys, and have the broker keep the vendor
    tenant-security snapshot build ...  or, without a broker: tenants and KMS configs as one sealed, signed file
    tenant-security identity new ...    make the identity of a proxy and its env file
    tenant-security proxy               run the Tenant Security Proxy with that env file
    tenant-security logdriver           deliver tenants' events to their sinks; events looks into its spool
    tenant-security bridge              run the vendor bridge, for automation

With a proxy running:

    tenant-security encrypt FILE ...    encrypt a file for a tenant; decrypt is the way back
    tenant-security inspect FILE        say what an EDEK or an encrypted document is
    tenant-security rekey-campaign ...  rekey many EDEKs, from files or a database
""",
    help_format="plaintext",
)
for group in (
    broker,
    vendor,
    identity,
    tenant,
    kms,
    segment,
    secrets,
    head,
    snapshot,
    sink,
    events,
    audit,
    fleet,
    admin,
    api_key,
):
    app.command(group.app)
app.command("tenant_security.cli.recover:app", name="recover")  # loads the KMSs' libraries, so only when it is wanted
for command in (
    apply.apply,
    doctor.doctor,
    top.top,
    files.encrypt,
    files.decrypt,
    files.inspect,
    rekey_campaign.rekey_campaign,
):
    app.command(command)
_ADD_THEIR_COMMANDS = (kms_configs, snapshot_export)
"""Modules whose commands stand in another's group."""


@app.command
def proxy(*, workers: int | None = None, check: bool = False, settings: bool = False) -> None:
    """Run the Tenant Security Proxy. All of its settings are environment variables.

    Signals: SIGHUP reads the tenants again; SIGTERM and Ctrl-C drain and stop, a second one stops at once. With
    several workers, SIGUSR2 replaces them one after the other without losing a request (docs/workers.md).

    Exit codes: 0 stopped as asked; 78 the settings are wrong (every problem is printed).

    Parameters
    ----------
    workers
        How many processes share the API port, one for each core that it may use; instead of TSP_WORKERS.
    check
        Read the settings and say what is wrong with them, without starting.
    settings
        Print every setting with its default and meaning, without starting.
    """
    from tenant_security.cli import run_proxy, settings_table  # noqa: PLC0415 - these load what the server needs
    from tenant_security.proxy.settings import ProxySettings  # noqa: PLC0415

    if settings:
        settings_table.print_settings("proxy", ProxySettings)
    else:
        run_proxy.run(check_only=check, workers=workers)


@app.command
def logdriver(*, check: bool = False, settings: bool = False) -> None:
    """Run the Tenant Security Logdriver. All of its settings are environment variables.

    Events of tenants without a sink go to standard output, the log to standard error.

    Signals: SIGHUP reads the tenants again; SIGTERM and Ctrl-C deliver what can be delivered at once and stop, a
    second one stops without that. What is not delivered is delivered after the next start.

    Exit codes: 0 stopped as asked; 78 the settings are wrong (every problem is printed).

    Parameters
    ----------
    check
        Read the settings and say what is wrong with them, without starting.
    settings
        Print every setting with its default and meaning, without starting.
    """
    from tenant_security.cli import run_logdriver, settings_table  # noqa: PLC0415 - these load what the server needs
    from tenant_security.logdriver.settings import LogdriverSettings  # noqa: PLC0415

    if settings:
        settings_table.print_settings("logdriver", LogdriverSettings)
    else:
        run_logdriver.run(check_only=check)


@app.command
def bridge(*, check: bool = False, settings: bool = False) -> None:
    """Run the vendor bridge, the vendor's automation API. All of its settings are environment variables.

    Signals: SIGHUP reads the vendor's keys again; SIGTERM and Ctrl-C drain and stop, a second one stops at once.

    Exit codes: 0 stopped as asked; 78 the settings are wrong (every problem is printed).

    Parameters
    ----------
    check
        Read the settings and say what is wrong with them, without starting.
    settings
        Print every setting with its default and meaning, without starting.
    """
    from tenant_security.cli import run_bridge  # noqa: PLC0415 - the server's libraries load only for the server

    run_bridge.run(check_only=check, print_only=settings)


@app.command
def dev(
    *,
    proxy_port: int = 7777,
    ops_port: int = 9000,
    events_port: int = 5555,
    broker_port: int = 8080,
    bridge_port: int = 3000,
    logdriver_port: int = 9001,
    state_dir: str = ".state",
    host: str = "127.0.0.1",
    seed: Literal["demo", "conformance"] = "demo",
    reset: bool = False,
    kms: str = "local",
) -> None:
    """Run a complete demo on this machine: a vendor, tenants, a local KMS, broker, proxy, logdriver and bridge.

    Its configs travel sealed and signed as in production; only the KMS is one that lives in the config itself. The
    API key is that of the environment variable API_KEY, else one is made and printed. Ctrl-C stops everything.

    Refuses to start where TENANT_SECURITY_ENV is "production".

    Parameters
    ----------
    proxy_port
        Port of the API. 0 lets the system choose.
    ops_port
        Port of health and metrics.
    events_port
        Port where logdrivers fetch security events.
    broker_port
        Port of the broker.
    bridge_port
        Port of the vendor bridge. Its API key is that of the environment variable BRIDGE_API_KEY, else one is made.
    logdriver_port
        Port of the logdriver's health and metrics.
    state_dir
        Where the vendor's keys and all that the broker keeps are kept between starts.
    host
        The address to listen on.
    seed
        Which tenants to make: "demo" the six of the published examples, "conformance" those of the published
        clients' test suites too.
    reset
        Empty the state directory first: all demo keys are made anew, and what they encrypted is lost.
    kms
        Which KMSs the tenants use: "local", or fakes of the real ones, such as "fake-aws,fake-gcp": fake-aws,
        fake-azure, fake-gcp, fake-thales, fake-vault. The proxy talks to them as to the real ones. Their keys live as
        long as this command does.
    """
    from tenant_security.cli import dev as development  # noqa: PLC0415 - the server's libraries load only for the server

    development.run(
        development.DevOptions(
            proxy_port=proxy_port,
            ops_port=ops_port,
            events_port=events_port,
            broker_port=broker_port,
            bridge_port=bridge_port,
            logdriver_port=logdriver_port,
            state_dir=state_dir,
            host=host,
            seed=seed,
            reset=reset,
            kms=kms,
        )
    )


@app.command
def completion(shell: Annotated[Literal["bash", "zsh", "fish"], Parameter()]) -> None:
    """Print a completion script for a shell.

    For bash:  eval "$(tenant-security completion bash)"

    Parameters
    ----------
    shell
        The shell to complete in.
    """
    sys.stdout.write(app.generate_completion(shell=shell))


def run() -> None:
    """Run the command line; print settings problems as they are meant to be read."""
    try:
        app()
    except SettingsError as wrong:
        for problem in wrong.problems:
            sys.stderr.write(f"error: {problem}\n")
        sys.exit(EXIT_SETTINGS)
