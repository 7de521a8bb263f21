"""``tenant-security kms``: find out what is wrong with a KMS config."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="kms", help="Test the configs of tenants' KMSs.", help_format="plaintext")


@app.command
def check(
    file: Path,
    /,
    *,
    env_file: Path | None = None,
    tenant: str | None = None,
    config: int | None = None,
    vendor_owned: bool = False,
    allow: Annotated[str, Parameter(env_var="TSP_EGRESS_ALLOW")] = "",
    as_json: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> None:
    """Test KMS configs by a real wrap and unwrap; say what is wrong, who can mend it, and what must be granted.

    The file is one config, or a description of tenants as "snapshot build" takes it; TOML, or JSON when its name ends
    in .json. With --env-file it is a sealed snapshot, and the identity in that env file opens it.

    Run it where the proxy runs: what can be reached from there is what counts.

    Exit code 0 when every config works, 1 when one does not.

    Examples:
        tenant-security kms check acme.json
        tenant-security kms check tenants.toml --tenant tenant-b
        tenant-security kms check tenants.snapshot --env-file proxy-1.env --tenant tenant-b --json

    Parameters
    ----------
    file
        One config, a description of tenants, or a snapshot.
    env_file
        A service's env file: the file is a snapshot then.
    tenant
        Test the configs of this tenant only.
    config
        Test the config with this id only.
    vendor_owned
        The one config in the file is the vendor's own: only such a one may use this service's own identity at a cloud.
    allow
        What may be reached beyond the public internet, as TSP_EGRESS_ALLOW says it.
    as_json
        Print JSON for machines.
    """
    from tenant_security.cli import kms_check  # noqa: PLC0415 - the HTTP libraries load only for what uses them

    kms_check.run(
        kms_check.Asked(file, env_file, tenant, config, vendor_owned=vendor_owned), allow=allow, as_json=as_json
    )
