"""Runs the shell blocks of pages one after the other, as somebody does who follows them, terminal by terminal."""

import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.pages.pages import Block, shows

_WITHIN_S = 90.0
_VARYING = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{16}(?![\w+/=])|#t=\S+")
"""API keys of 12 bytes, and what an invitation's link carries."""


class PageError(AssertionError):
    """A page says something that is not so."""


class Walk:
    """A reader in a directory. What is exported in one block is there in the next; so is the directory.

    ``words`` are what the reader puts in place of what stands on the page, and ``ports`` which free port stands for
    which of the page's. Both must be used: a word that no page has is a fault of the walk.
    """

    def __init__(self, place: Path, environ: Mapping[str, str], ports: Mapping[int, int]) -> None:
        self.place = place
        self.printed = ""
        self.words: dict[str, str] = {}
        self.used: set[str] = set()
        self._ports = dict(ports)
        self._notes = Path(tempfile.mkdtemp(dir=place.parent))
        self._state = self._notes / "exported"
        self._running: list[tuple[subprocess.Popen[bytes], Path, Block]] = []
        self._first = {"PATH": os.environ["PATH"], "HOME": str(place), "LANG": "C.UTF-8", **environ}

    def follow(self, blocks: list[Block]) -> None:
        """Run blocks in order, and compare what was printed where a page shows it."""
        for block in blocks:
            if block.not_run:
                continue
            if block.prints:
                if missing := shows(block.text, self.printed, _VARYING):
                    raise PageError(f"{block} shows what is not printed:\n{missing}\n--- printed:\n{self.printed}")
            elif block.ready:
                self._start(block)
            else:
                self._run(block)

    def close(self) -> None:
        """Interrupt what keeps running, as Ctrl-C does; all must leave cleanly."""
        left = self._running[::-1]
        self._running = []
        for process, _, _ in left:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process, out, block in left:
            try:
                code = process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise PageError(f"{block} does not end on Ctrl-C:\n{out.read_text()}") from None
            if code not in (0, 130, -signal.SIGINT):  # make says 130 of what it was interrupted in
                raise PageError(f"{block} ended with {code}:\n{out.read_text()}")

    def _run(self, block: Block) -> None:
        keep = f"export -p >'{self._state}'; echo \"cd '$PWD'\" >>'{self._state}'"
        script = f"{self._before()}{self._typed(block)}\n{keep}\n"
        done = subprocess.run(
            ["bash", "-eu", "-c", script],
            cwd=self.place,
            env=self._first,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_WITHIN_S,
        )
        self.printed = self._shown(done.stdout)
        if done.returncode:
            raise PageError(f"{block} fails with {done.returncode}:\n{block.text}\n{done.stdout}{done.stderr}")

    def _start(self, block: Block) -> None:
        out = self._notes / f"{len(self._running)}.out"
        with out.open("wb") as to:
            process = subprocess.Popen(
                ["bash", "-eu", "-c", f"{self._before()}{self._typed(block)}"],
                cwd=self.place,
                env=self._first,
                stdin=subprocess.DEVNULL,
                stdout=to,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((process, out, block))
        deadline = time.monotonic() + _WITHIN_S
        while block.ready not in self._shown(out.read_text()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise PageError(f"{block} never says {block.ready!r}:\n{out.read_text()}")
            time.sleep(0.02)
        self.printed = self._shown(out.read_text())

    def _before(self) -> str:
        return self._state.read_text() if self._state.exists() else ""

    def _typed(self, block: Block) -> str:
        text = block.text
        for word, put in self.words.items():
            if word in text:
                self.used.add(word)
                text = text.replace(word, put)
        return re.sub(r"(?<=:)\d{4}\b", lambda each: str(self._ports.get(int(each[0]), each[0])), text)

    def _shown(self, printed: str) -> str:
        """What was printed, with the page's ports."""
        back = {str(free): str(named) for named, free in self._ports.items()}
        return re.sub(r"(?<=:)\d{4,5}\b", lambda each: back.get(each[0], each[0]), printed)
