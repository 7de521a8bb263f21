"""What the tests of the web app share: the app built, a broker process, and a browser."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from tests.browser.stack import ARGUMENTS, CHROMIUM, ROOT, WITHIN_S, Stack, require_chromium, running_stack
from tests.conformance.toolchains import installed_node

expect.set_options(timeout=WITHIN_S * 1000 / 3)
"""How long a page may take on a slow machine to show what is expected. Units: milliseconds."""

STATIC = ROOT / "src" / "tenant_security" / "broker" / "static"


@pytest.fixture(scope="session")
def built_app() -> Path:
    """The web app, built from the sources as they are."""
    installed_node(ROOT / "web")
    done = subprocess.run(["make", "web"], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return STATIC


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. Playwright keeps an event loop running, so it ends with the module: other tests have their own."""
    require_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def stack(built_app: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A new broker."""
    assert (built_app / "index.html").exists()
    with running_stack(tmp_path_factory.mktemp("broker")) as started:
        yield started
