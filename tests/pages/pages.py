"""The shell blocks of the documentation's pages, with what the pages say about running them.

A page says it in comments before a block, which readers do not see:

``<!-- not run: REASON -->``          the block is not run here, and why
``<!-- runs until: TEXT -->``         the block's last command keeps running; it is ready once it has printed TEXT
``<!-- prints -->``                   before a block of another kind: what the last command printed. ``...`` stands for
                                      anything, and lines that are not there may stand before and after
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^#+ (?P<heading>.+?) *$|^(?:<!-- (?P<mark>[^\n]*?) -->\n)?```(?P<kind>\w*)\n(?P<text>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
SHELLS = ("sh", "bash", "shell", "console")


class Block(NamedTuple):
    """One block of a page, below one heading."""

    page: str
    line: int
    section: str
    text: str
    shell: bool
    not_run: str = ""
    ready: str = ""
    prints: bool = False

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str, text: str | None = None) -> list[Block]:
    """The shell blocks of a page, and the blocks that show what these print, in their order."""
    text = (ROOT / page).read_text("utf-8") if text is None else text
    section, found = "", []
    for match in _BLOCK.finditer(text):
        if match["heading"]:
            section = match["heading"]
            continue
        mark, shell = match["mark"] or "", match["kind"] in SHELLS
        word, _, rest = mark.partition(": ")
        if not shell and mark != "prints":
            continue
        found.append(
            Block(
                page,
                text.count("\n", 0, match.start()) + 1,
                section,
                match["text"],
                shell,
                not_run=rest.strip() if word == "not run" else "",
                ready=rest.strip() if word == "runs until" else "",
                prints=mark == "prints",
            )
        )
    return found


def pages() -> list[str]:
    """Every page of the project that people read."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]
    return sorted(each.relative_to(ROOT).as_posix() for each in found)


def shows(expected: str, printed: str, varying: re.Pattern[str]) -> str | None:
    """Return the first line of a page that was not printed where it should be, or None.

    What ``varying`` finds is no two times the same, and is not compared.
    """
    lines = iter(varying.sub("~", printed).splitlines())
    for line in expected.strip("\n").splitlines():
        wanted = re.compile(r".*".join(re.escape(part) for part in varying.sub("~", line.rstrip()).split("...")))
        if not any(wanted.fullmatch(each.rstrip()) for each in lines):
            return line
    return None
