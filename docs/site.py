"""``python -m docs.site``: builds the documentation as a website into ``build/site``, every link checked.

The pages are those of this folder and of the project's root, as they stand; only links between the two are turned.
"""

import re
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build"
FROM_ROOT = ("README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md")

SECTIONS = {
    "Begin": ["README", "concepts", "client/quickstart", "migrate", "faq", "comparison"],
    "Application developers": [
        "client/cookbook",
        "client/errors",
        "client/formats",
        "client/migrate",
        "client/reference",
        "proxy-api",
        "leasing",
        "several-kms",
    ],
    "Platform engineers": [
        "operate",
        "kubernetes",
        "settings",
        "metrics",
        "logs",
        "workers",
        "kms-calls",
        "tls",
        "api-keys",
        "tracing",
        "performance",
        "logdriver",
        "broker-operate",
        "rotation",
        "recovery",
        "runbooks",
    ],
    "Admins of vendors and tenants": [
        "guide-vendor-admin",
        "guide-tenant-admin",
        "broker-people",
        "kms/*",
        "kms-check",
        "sinks",
        "events-formats",
        "web",
    ],
    "Automation": ["bridge-api", "broker-api"],
    "Security": ["SECURITY", "auditing", "threat-model", "formats-trust", "formats", "egress"],
    "Contributors": ["ARCHITECTURE", "CONTRIBUTING", "CHANGELOG", "releases", "decisions/*"],
}
"""The pages in the order of the menu. A page that exists and stands nowhere goes to the end."""

_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)]*)?\))")


def pages() -> dict[str, str]:
    """Every page by its name in the site, with its links turned to where things lie there."""
    found = {}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        found[path.relative_to(ROOT / "docs").as_posix()] = _turned(path.read_text("utf-8"), path)
    for name in FROM_ROOT:
        found[name] = _turned((ROOT / name).read_text("utf-8"), ROOT / name)
    found["index.md"] += _menu({name.removesuffix(".md") for name in found if name != "index.md"})
    return found


def _turned(text: str, page: Path) -> str:
    """Point links at pages to the site's own; whatever else a link leads to is only named."""
    here = _place(page)

    def turn(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        if target.is_dir() and (target / "README.md").exists():
            target /= "README.md"
        place = _place(target)
        if place is None or here is None:
            return f"{link[1]}{link[2]}{link[3]}"
        up = "../" * (len(Path(here).parts) - 1)
        return f"{link[1]}{up}{place}{link[3]}"

    return _LINK.sub(turn, text)


def _place(path: Path) -> str | None:
    """Where a file lies in the site; None where it does not."""
    if path.parent == ROOT and path.name in FROM_ROOT:
        return path.name
    if path.is_relative_to(ROOT / "docs") and path.suffix in (".md", ".png", ".svg", ".json"):
        return path.relative_to(ROOT / "docs").as_posix()
    return None


def _menu(names: set[str]) -> str:
    """The menu, as directives that only the site's builder reads."""
    left, text = set(names), ""
    for title, wanted in SECTIONS.items():
        chosen: list[str] = []
        for each in wanted:
            matching = sorted(left) if each == "*" else sorted(name for name in left if fnmatchcase(name, each))
            chosen += [name for name in matching if name not in chosen]
        left -= set(chosen)
        text += _toctree(title, chosen)
    return text + (_toctree("More", sorted(left)) if left else "")


def _toctree(title: str, names: list[str]) -> str:
    listed = "\n".join(names)
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{listed}\n```\n" if names else ""


def main() -> int:
    """Build the site; every warning is a failure."""
    source, site = BUILD / "site-source", BUILD / "site"
    shutil.rmtree(source, ignore_errors=True)
    for name, text in pages().items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    for kind in ("*.svg", "*.png", "*.json"):
        for path in (ROOT / "docs").rglob(kind):
            copy = source / path.relative_to(ROOT / "docs")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    shutil.copyfile(ROOT / "docs/_site/conf.py", source / "conf.py")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html", str(source), str(site)]
    built = subprocess.run(command, check=False).returncode
    if built == 0:
        print(f"The site is built: {(site / 'index.html').relative_to(ROOT)}")
    return built


if __name__ == "__main__":
    sys.exit(main())
