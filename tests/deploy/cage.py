"""Runs a command as an image would: a root that cannot be written, nobody's user, no capability, no new privilege."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = "/opt/tenant-security"
_OWN = {"dev", "proc", "tmp", "opt"}
"""What the cage has of its own, where an image has too."""


def cage(writable: Path | None = None, volumes: Mapping[str, Path] | None = None) -> list[str]:
    """What to put before a command: it may write to ``writable``, to its volumes and to a /tmp of its own only.

    The environment of this checkout lies where the images have theirs, and the command begins in ``/`` as there.
    """
    bwrap = shutil.which("bwrap")
    assert bwrap is not None, "bubblewrap is missing; on Debian: apt-get install bubblewrap"
    words = [bwrap, "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    for entry in sorted(Path("/").iterdir()):
        if entry.name not in _OWN:
            link = ["--symlink", str(entry.readlink())] if entry.is_symlink() else ["--ro-bind", str(entry)]
            words += [*link, str(entry)]
    words += ["--ro-bind", sys.prefix, PLACE]
    if ROOT.is_relative_to("/tmp"):
        words += ["--ro-bind", str(ROOT), str(ROOT)]
    for place, directory in {**({str(writable): writable} if writable else {}), **(volumes or {})}.items():
        words += ["--bind", str(directory), place]
    words += ["--remount-ro", "/", "--chdir", "/"]
    words += ["--unshare-user", "--uid", "65532", "--gid", "65532", "--unshare-pid", "--unshare-ipc"]
    # The program is process 1, as in a container: what it does not handle, it does not notice.
    return [*words, "--as-pid-1", "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--"]


def inside(bwrap: int) -> int:
    """The process that runs in a cage, by the number of the cage's: bubblewrap hands no signal on."""
    children = Path(f"/proc/{bwrap}/task/{bwrap}/children").read_text().split()
    if not children:
        return bwrap
    return inside(int(children[0])) if Path(f"/proc/{children[0]}/comm").read_text() == "bwrap\n" else int(children[0])
