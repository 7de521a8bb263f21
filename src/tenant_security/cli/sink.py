"""``tenant-security sink``: find out whether events arrive where a tenant wants them."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="sink", help="Test where tenants' security events go.", help_format="plaintext")


@app.command
def check(
    file: Path,
    /,
    *,
    env_file: Path | None = None,
    tenant: str | None = None,
    vendor_owned: bool = False,
    kafka: bool = False,
    allow: Annotated[str, Parameter(env_var="TSP_EGRESS_ALLOW")] = "",
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Send one event that says it is a test; say what came of it, who can mend it, and what must be granted.

    The file is one sink config, TOML, or JSON when its name ends in .json. With --env-file it is a sealed snapshot,
    and the identity in that env file opens the sink configs in it.

    Run it where the logdriver runs: what can be reached from there is what counts.

    Exit code 0 when every test event was delivered, 1 when one was not.

    Examples:
        tenant-security sink check splunk.json
        tenant-security sink check tenants.snapshot --env-file logdriver-1.env --tenant tenant-b --json

    Parameters
    ----------
    file
        One sink config, or a snapshot.
    env_file
        A service's env file: the file is a snapshot then.
    tenant
        Whose sinks to test; with one config in the file, the tenant that the test event names.
    vendor_owned
        The one config in the file is the vendor's own: only such a one may write to standard output.
    kafka
        Tenants may use Kafka here, as where the logdriver's operator allows it.
    allow
        What may be reached beyond the public internet, as TSP_EGRESS_ALLOW says it.
    as_json
        Print JSON for machines.
    """
    from tenant_security.cli import sink_check  # noqa: PLC0415 - the HTTP libraries load only for what uses them

    asked = sink_check.Asked(file, env_file, tenant, vendor_owned=vendor_owned, kafka=kafka)
    sink_check.run(asked, allow=allow, as_json=as_json)
