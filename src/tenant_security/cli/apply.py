"""``tenant-security apply``: make a broker what a file says, for GitOps."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tenant_security.authoring.desired import Applying, Step, read_desired
from tenant_security.cli.explain import explained
from tenant_security.cli.link import AtOptions, Json, Session, show_json, talk


def apply(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"])],
    at: AtOptions,
    dry_run: bool = False,
    prune: bool = False,
    as_json: Json = False,
) -> None:
    """Make the broker what a file says: tenants, tags, configs and assignments. What is so already stays untouched.

    Run it as often as you like: a second run changes nothing. Configs are sealed here, before they leave.

    Example:  tenant-security apply -f vendor.yaml --dry-run

    Parameters
    ----------
    file
        The description, in YAML, TOML or JSON (docs/broker-operate.md). It may hold credentials, or name files that do.
    dry_run
        Say what would be done, and do nothing.
    prune
        Remove tenants and configs of the vendor that are not described. What their keys wrapped is then unreadable.
    """
    with explained():
        desired = read_desired(file)
    steps: list[Step] = []

    def told(step: Step) -> None:
        steps.append(step)
        if not as_json:
            print(f"{step.sign} {step.what}", flush=True)

    async def work(session: Session) -> int:
        await session.run(session.admin.pull_keys())
        return await session.run(Applying(session.admin, desired, file.parent, told, dry=dry_run).run(prune=prune))

    count = talk(at, work)
    if as_json:
        show_json({"dryRun": dry_run, "steps": steps})
    elif not count:
        print("Nothing to change.")
    elif dry_run:
        print(f"{count} steps; nothing was done.")
