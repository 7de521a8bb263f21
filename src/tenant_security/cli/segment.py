"""``tenant-security segment``: which proxies may open whose configs, and new keys for that."""

from collections.abc import Callable
from functools import partial

import msgspec
from cyclopts import App
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tenant_security.authoring.vendor import Vendor
from tenant_security.cli.link import AtOptions, Json, Session, show, talk
from tenant_security.wire import broker_api as api

app = App(
    name="segment",
    help="""Segments: a key pair for the configs of the tenants that have all of its tags.

A proxy opens a segment when its identity has all of the segment's tags. Segment 1 has none: it is for everybody.
""",
    help_format="plaintext",
)


class _Row(msgspec.Struct):
    segment: int
    epoch: int
    tags: tuple[str, ...]
    services: tuple[str, ...]


@app.command(name="list")
def list_(*, at: AtOptions, as_json: Json = False) -> None:
    """List segments and who opens them."""

    async def work(session: Session) -> list[_Row]:
        await session.run(session.admin.pull_keys())
        return [
            _Row(each.id, each.epoch, each.tags, session.vendor.services_of(each)) for each in session.vendor.segments
        ]

    columns = {"SEGMENT": "segment", "EPOCH": "epoch", "TAGS": "tags", "SERVICES": "services"}
    show(talk(at, work), columns, as_json=as_json)


@app.command
def add(*tags: str, at: AtOptions) -> None:
    """Begin a segment for the tenants and services that have all of these tags.

    Parameters
    ----------
    tags
        The tags' texts.
    """

    async def work(session: Session) -> int:
        number = await session.publish(lambda vendor: vendor.add_segment(tags=tags))
        await wrap_all(session)
        return number

    print(f"Segment {talk(at, work)} is there. Give services its tags with 'identity new --tag'.")


@app.command
def rotate(number: int, /, *, at: AtOptions) -> None:
    """Begin a new epoch of a segment, and wrap every config anew. Run it again when it was interrupted.

    Proxies serve on all the while. Configs keep their signatures; the old key opens nothing that is made afterwards.

    Parameters
    ----------
    number
        Which segment.
    """

    async def work(session: Session) -> int:
        return await rotate_segments(session, [number], lambda vendor: begin_rotation(vendor, number))

    print(f"Segment {number} is rotated; {talk(at, work)} configs were wrapped anew.")


async def wrap_all(session: Session) -> None:
    """Wrap everything to the segments that may open it, such as after a segment was added."""
    await session.run(session.admin.wrap_shared())
    for each in await session.run(session.admin.every("/tenants", api.Tenant)):
        await session.run(session.admin.wrap_for_tags(each.id))


def begin_rotation(vendor: Vendor, number: int) -> None:
    """Begin a new epoch, unless one is begun already."""
    if not vendor.rotates(number):
        vendor.rotate_segment(number, keep_epochs=True)


async def rotate_segments(session: Session, numbers: list[int], begin: Callable[[Vendor], object]) -> int:
    """Do ``begin`` to the vendor's keys, wrap the segments' configs anew, and end the old epochs."""
    await session.publish(begin)
    done = 0
    for number in numbers:
        with _bar() as bar:
            task = bar.add_task(f"segment {number}", total=None)

            done += await session.run(session.admin.rewrap(number, partial(_tell, bar, task)))
        await session.publish(partial(_end, number=number))
    return done


def _tell(bar: Progress, task: TaskID, done: int, left: int) -> None:
    bar.update(task, completed=done, total=done + left)


def _end(vendor: Vendor, number: int) -> None:
    vendor.drop_old_epochs(number)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
