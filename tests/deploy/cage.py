"""Runs a command as an image would: a root that cannot be written, nobody's user, no capability."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]


def cage(writable: Path) -> list[str]:
    """What to put before a command, so that it may write to this directory and to a /tmp of its own only."""
    bwrap = shutil.which("bwrap")
    assert bwrap is not None, "bubblewrap is missing; on Debian: apt-get install bubblewrap"
    words = [bwrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"]
    words += ["--ro-bind", str(ROOT), str(ROOT), "--bind", str(writable), str(writable), "--chdir", str(writable)]
    words += ["--unshare-user", "--uid", "65532", "--gid", "65532", "--unshare-pid", "--unshare-ipc"]
    return [*words, "--cap-drop", "ALL", "--new-session", "--die-with-parent", "--"]
