"""The project is laid out as ARCHITECTURE.md says, its first two commands stand in the README, its floors hold."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tenant_security"
GUIDE = ROOT / "ARCHITECTURE.md"


class Named(NamedTuple):
    """One file or directory of the layout, with the line that names it."""

    path: str
    line: str


def layout(text: str) -> list[Named]:
    """Read a layout block: nested by two spaces, one or more names on a line, then what they are for.

    The names end at two or more spaces, at `` - `` or at the line's end; a name that ends in ``/`` is a directory.
    """
    found: list[Named] = []
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        names = re.split(r"\s{2,}| [-\u2013#] ", line.strip(), maxsplit=1)[0].split()
        while parents and parents[-1][0] >= depth:
            parents.pop()
        prefix = parents[-1][1] if parents else ""
        found += [Named(prefix + name, line) for name in names]
        directories = [name for name in names if name.endswith("/")]
        if directories:
            parents.append((depth, prefix + directories[-1]))
    return found


def test_a_layout_is_read_as_it_is_drawn() -> None:
    block = """
README.md  LICENSE.txt is not a name here
src/tenant_security/      the code
  __main__.py cli/        the command line
    app.py - the commands
  wire/
    edek.py  the EDEK
tests/
"""
    assert [each.path for each in layout(block)] == [
        "README.md",
        "src/tenant_security/",
        "src/tenant_security/__main__.py",
        "src/tenant_security/cli/",
        "src/tenant_security/cli/app.py",
        "src/tenant_security/wire/",
        "src/tenant_security/wire/edek.py",
        "tests/",
    ]


def blocks() -> list[str]:
    """The fenced blocks of the guide that name our source."""
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = [block for block in fenced if "src/tenant_security/" in block]
    assert found, "ARCHITECTURE.md shows the layout in a fenced block"
    return found


def described() -> list[Named]:
    return [each for block in blocks() for each in layout(block)]


def test_everything_that_the_guide_names_exists() -> None:
    missing = [each.line for each in described() if not (ROOT / each.path).exists()]
    assert missing == []


def test_every_module_is_named_in_the_guide() -> None:
    named = {(ROOT / each.path).resolve() for each in described()}
    modules = {path for path in SOURCE.rglob("*.py") if path.name != "__init__.py"}
    packages = {path.parent for path in SOURCE.rglob("__init__.py")} - {SOURCE}
    assert sorted(str(path.relative_to(ROOT)) for path in (modules | packages) - named) == []


def test_the_readme_begins_with_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    run, test = readme.find("make run"), readme.find("make test")
    assert 0 <= run < test, "make run, then make test"


def test_every_package_says_what_it_is_for() -> None:
    for path in SOURCE.rglob("__init__.py"):
        assert path.read_text().lstrip().startswith('"""'), path


def test_no_product_code_mentions_the_test_kit() -> None:
    for path in SOURCE.rglob("*.py"):
        # The demo plays with the fakes, and imports them only then.
        if (SOURCE / "testing") not in path.parents and path != SOURCE / "cli" / "demo_kms.py":
            assert "tenant_security.testing" not in path.read_text(), path
            assert not re.search(
                r"^\s*(from|import) (pytest|hypothesis|unittest|tests)\b", path.read_text(), re.MULTILINE
            ), path


def test_the_floors_hold() -> None:
    """Every import contract of pyproject.toml."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    checked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert " 0 broken" in checked.stdout
