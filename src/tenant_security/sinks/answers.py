"""What an HTTP answer means, where a sink has no words of its own for it.

A refusal of the events themselves is told from a refusal of us: only the first costs an event. Nothing that the sink
wrote is repeated.

Source: docs/sinks.md, "How events are delivered"; RFC 9110, section 15; RFC 6585.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from tenant_security.outbound.flow import Response
from tenant_security.sinks.sending import Answer, Halve
from tenant_security.sinks.sink import DELIVERED, Later

_LONGEST_WAIT_S: Final = 3600.0

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_TOO_LARGE: Final = 413
_BUSY: Final = frozenset({408, 425, 429})
_BAD_BATCH: Final = frozenset({400, 422})
"""What is said of the content. Everything else below 500 is said of the address or of us, and keeps the events."""


def judge(title: str, response: Response, now: datetime) -> Answer:
    """Say what an answer means by its status alone."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 - success, RFC 9110, section 15.3
        return web_page(title, response) or DELIVERED
    if status in _BUSY or status >= 500:  # noqa: PLR2004 - server error, section 15.6
        return Later(f"{title} is busy or out of order (HTTP {status}).", retry_after_s(response, now))
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return Later(f"{title} refuses our credentials (HTTP {status}). Check them, and what they allow.", blocked=True)
    if status == _TOO_LARGE:
        return Halve(f"{title} finds the event too large (HTTP 413).")
    if status in _BAD_BATCH:
        return Halve(f"{title} does not take the event (HTTP {status}).")
    return Later(f"{title} does not take events at the address in the configuration (HTTP {status}).", blocked=True)


def web_page(title: str, response: Response) -> Later | None:
    """Say so where a page for people came in place of an answer: a proxy or a sign-in stands before the sink."""
    if not response.headers.get("content-type", "").lower().startswith("text/html"):
        return None
    return Later(
        f"A web page answered in place of {title}. Check the address, and what stands before it.", blocked=True
    )


def retry_after_s(response: Response, now: datetime) -> float | None:
    """How long the sink asks us to wait, at most an hour; None when it does not say. Source: RFC 9110, 10.2.3."""
    text = response.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), _LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((until - now).total_seconds(), 0.0), _LONGEST_WAIT_S)
