"""People in front of the app: each has a browser of their own, with a passkey in it, and does what people do."""

import json
import os
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, CDPSession, Download, Page, expect

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SLOWER = float(os.environ.get("BROWSER_SLOWER", "1"))
"""How much slower pages shall be than this machine lets them: to find what a test does not wait for."""
DESKTOP, PHONE = (1280, 860), (390, 844)


class Person:
    """One person's browser."""

    def __init__(
        self, browser: Browser, url: str, *, dark: bool = False, size: tuple[int, int] = DESKTOP, **more: Any
    ) -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            accept_downloads=True,
            base_url=url,
            **more,
        )
        self.context.set_default_timeout(30_000)
        self.page: Page = self.context.new_page()
        self.requests: list[tuple[str, str]] = []
        self.troubles: list[str] = []
        self.page.on("request", lambda request: self.requests.append((request.url, request.post_data or "")))
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("console", self._console)
        self.page.add_init_script(
            "window.violations=[];document.addEventListener('securitypolicyviolation',"
            "e=>window.violations.push(e.violatedDirective+' '+e.blockedURI+' '+e.sample))"
        )
        self._cdp: CDPSession = self.context.new_cdp_session(self.page)
        if SLOWER > 1:
            self._slow_down()

    def _slow_down(self) -> None:
        """Let pages compute more slowly and wait for every answer, as on a machine that is busy."""
        self._cdp.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
        self._cdp.send("Network.enable")
        waits = {"offline": False, "latency": 40 * SLOWER, "downloadThroughput": -1, "uploadThroughput": -1}
        self._cdp.send("Network.emulateNetworkConditions", waits)

    def _console(self, message: Any) -> None:
        # A refused request is reported by the browser as an error, and is often what a test wants.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.troubles.append(f"{message.type}: {message.text}")

    def give_passkey(self, *, prf: bool = True) -> None:
        """Put an authenticator into the browser that does as it is asked."""
        self._cdp.send("WebAuthn.enable")
        self._cdp.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "ctap2Version": "ctap2_1",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                    "hasPrf": prf,
                }
            },
        )

    def go(self, path: str) -> None:
        self.page.goto(self.url + path if path.startswith("/") else path)

    def press(self, name: str, *, exact: bool = False) -> None:
        self.page.get_by_role("button", name=name, exact=exact).first.click()

    def follow(self, name: str) -> None:
        self.page.get_by_role("link", name=name).first.click()

    def type(self, label: str, text: str) -> None:
        self.page.get_by_label(label, exact=True).first.fill(text)

    def sees(self, text: str) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    def invites_owner(self, email: str) -> str:
        """On a page of people, invite another owner; returns the link."""
        self.press("Invite somebody")
        self.type("E-mail address", email)
        self.page.get_by_label("Role", exact=True).select_option("owner")
        self.press("Invite", exact=True)
        return self.takes_link()

    def takes_link(self) -> str:
        """Take the link of the invitation that was just made, which is shown once."""
        link = self.page.locator("[data-test=invitation-link]").inner_text().strip()
        self.press("Done")
        return link

    def downloads(self, button: str) -> Download:
        with self.page.expect_download() as waiting:
            self.press(button)
        return waiting.value

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Keep a picture for the documentation, when that is asked for: ``make pictures``."""
        if not os.environ.get("PICTURES"):
            return
        IMAGES.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_load_state("networkidle")
        self.page.screenshot(path=IMAGES / f"{name}.png", full_page=whole, animations="disabled")

    def violations(self) -> list[str]:
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def storage(self) -> str:
        """All that the page keeps in this browser, as text."""
        kept: dict[str, Any] = self.page.evaluate("({...localStorage, ...sessionStorage})")
        return json.dumps(kept)
