"""The documents say what is so: links lead somewhere, and what the code knows stands in its page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from tenant_security.cli.app import app
from tenant_security.errors import FAULTS, Code
from tenant_security.proxy.settings import ProxySettings
from tenant_security.proxy.workers import PLACE
from tenant_security.service.settings import settings_of

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tenant_security"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("tests/*/*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", each).lower()) for each in headings)
    return {each.replace(" ", "-") for each in plain}


def broken_links(page: Path, root: Path = ROOT) -> Iterator[str]:
    for target in LINK.findall(prose(page)):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or not path.is_relative_to(root) or (anchor and anchor not in anchors(path)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    assert list(broken_links(page)) == []


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](missing.md) [b](#there) [c](#here)\n")
    assert list(broken_links(page, tmp_path)) == ["missing.md", "#there"]


def test_the_generated_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", Code)
def test_every_error_code_stands_in_the_api_page_with_its_name_status_and_fixer(code):
    row = re.search(rf"^\| {int(code)} \|.*$", (ROOT / "docs/proxy-api.md").read_text("utf-8"), re.MULTILINE)
    assert row is not None
    _, _, name, status, _, retry, fixer, message, _ = (cell.strip() for cell in row[0].split("|"))
    fault = FAULTS[code]
    assert (name, retry, fixer) == (f"`{code.name}`", "yes" if fault.retryable else "no", fault.fixer.value)
    assert status.startswith(str(fault.http_status))
    assert message


def metrics_in_the_code() -> set[str]:
    names: set[str] = set()
    for module in ("applications", "observed", "status", "kms_calls", "supervisor"):
        text = (SOURCE / "proxy" / f"{module}.py").read_text("utf-8")
        counters = set(re.findall(r'\.(?:counter|tally)\(\s*"(tsp_[a-z_]+)"', text))
        names |= {f"{each}_total" for each in counters} | (set(re.findall(r'"(tsp_[a-z_]+)"', text)) - counters)
    return names


def test_every_metric_family_stands_in_the_metrics_page_and_no_other():
    page = (ROOT / "docs/metrics.md").read_text("utf-8")
    rows = re.findall(r"^\| `(tsp_[a-z_]+)` \| (counter|gauge|histogram) \|", page, re.MULTILINE)
    assert {name for name, _ in rows} == metrics_in_the_code()
    assert len(rows) == len({name for name, _ in rows})
    rules = re.findall(r"tsp_[a-z_]+", page)
    assert set(rules) <= metrics_in_the_code()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_is_in_the_makefile(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE))
    assert named <= targets


def test_the_readme_begins_with_the_two_commands():
    commands = re.findall(r"^make (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert commands[:2] == ["run", "test"]


def commands(of: App, before: str) -> Iterator[str]:
    for name in of:
        if name.startswith("-"):
            continue
        below = list(commands(of[name], f"{before} {name}"))
        yield from below or [f"{before} {name}"]


def test_every_command_is_in_the_index_and_no_other():
    rows = re.findall(r"^\| `(tenant-security [a-z -]+)` \|", (ROOT / "docs/index.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(commands(app, "tenant-security"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_a_page_names_exists(page):
    names = {each.name for each in settings_of(ProxySettings)} | {PLACE}
    named = set(re.findall(r"\bTSP_[A-Z_]*[A-Z]\b", page.read_text("utf-8")))
    assert named <= names


def layout() -> set[str]:
    """The paths that ARCHITECTURE.md's layout names, from its indentation."""
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    block = text.partition("## Layout")[2].partition("```\n")[2].partition("```")[0]
    named: list[str] = []
    stack: list[str] = []
    for line in block.splitlines():
        entry = re.fullmatch(r"( *)(\S+) {2,}(\S.*)", line)
        assert entry is not None, line
        depth = len(entry[1]) // 2
        stack[depth:] = [entry[2].rstrip("/")]
        named.append("/".join(stack))
    assert len(named) == len(set(named))
    return set(named)


def test_the_architecture_names_every_package_and_module_and_no_other():
    modules = {path.relative_to(ROOT) for path in SOURCE.rglob("*.py")}
    assert layout() == {str(path) for path in modules | {path.parent for path in modules}}


def test_every_decision_is_in_the_list():
    folder = ROOT / "docs/decisions"
    listed = set(re.findall(r"\]\((\d{4}-[^)]+)\)", (folder / "README.md").read_text("utf-8")))
    assert listed == {path.name for path in folder.glob("[0-9]*.md")}
