"""An OpenID provider that a browser really goes to: its sign-in page is one button, and it can be made to lie."""

import time
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.unit.broker.fake_provider import Provider

from tenant_security.testing.fakes.server import Answered, Asked


class RealTime:
    """The time as it is, as the provider asks for it. ``ahead_s`` is how far ahead its clock is."""

    ahead_s = 0

    @property
    def now_s(self) -> int:
        return int(time.time()) + self.ahead_s


class PeerProvider(Provider):
    """``mood`` says what its sign-in page does: ``signs-in``, ``denies``, ``forgets-the-state``."""

    def __init__(self) -> None:
        super().__init__(RealTime())
        self.mood = "signs-in"

    def answer(self, asked: Asked) -> Answered:
        match asked.path:
            case "/authorize":
                page = f"<h1>Fine Provider</h1><form action=/go><input type=hidden name=q value='{asked.query}'>"
                return _page(page + "<button>Let me in</button></form>")
            case "/go":
                query = parse_qs(asked.query)["q"][0]
                return Answered(303, b"", (("Location", self._back(query)),))
        return super().answer(asked)

    def name(self, asked: Asked) -> str:
        return asked.path.strip("/")

    def _back(self, query: str) -> str:
        back = self.sign_in(f"{self.issuer}/authorize?{query}")
        parts = urlsplit(back)
        said: dict[str, Any] = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if self.mood == "denies":
            said = {"error": "access_denied", "state": said["state"]}
        elif self.mood == "forgets-the-state":
            said["state"] = "another"
        return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(said)}"


def _page(body: str) -> Answered:
    return Answered(200, body.encode(), (("Content-Type", "text/html; charset=utf-8"),))
