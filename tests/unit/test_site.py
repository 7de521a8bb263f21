"""The documentation as a website: every page in its menu, every link where it leads."""

import os
import re
import subprocess
import sys
from pathlib import Path

from docs.site import FROM_ROOT, ROOT, SECTIONS, pages


def test_every_page_is_in_the_menu_once() -> None:
    menu = "\n".join(re.findall(r"```\{toctree\}\n.*?\n\n(.*?)\n```", pages()["index.md"], re.DOTALL)).split()
    assert sorted(menu) == sorted(name.removesuffix(".md") for name in pages() if name != "index.md")
    assert "More" not in SECTIONS


def test_links_between_pages_stay_in_the_site() -> None:
    known = pages()
    for name, text in known.items():
        for target in re.findall(r"\]\(([^)#\s:]+\.md)(?:#[^)]*)?\)", text):
            place = Path(os.path.normpath(Path(name).parent / target))
            # What is not a page of the site is a file of the repository, and is named as it lies there.
            origin = ROOT if name in FROM_ROOT else (ROOT / "docs" / name).parent
            assert str(place) in known or (origin / target).exists(), f"{name}: {target}"
    assert set(FROM_ROOT) <= set(known)


def test_the_site_is_built_without_a_warning() -> None:
    built = subprocess.run(
        [sys.executable, "-m", "docs.site"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=250
    )
    assert built.returncode == 0, built.stderr
    assert (ROOT / "build/site/client/quickstart.html").exists()
