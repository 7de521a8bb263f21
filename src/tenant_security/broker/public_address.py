"""Where browsers find this broker, and what its pages may do there. No I/O."""

from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

_LOCAL: Final = {"localhost", "127.0.0.1"}
_YEAR_S: Final = 31_536_000

_DIRECTIVES: Final = (
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
    "worker-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "object-src 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
)
_PAGES_MAY: Final = "; ".join(_DIRECTIVES)
_ANSWERS_MAY: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

Header = tuple[bytes, bytes]


class PublicAddress(NamedTuple):
    """The address that people type. ``origin`` is what browsers send as ``Origin``, ``host`` a passkey's party."""

    origin: str
    host: str
    secure: bool

    @classmethod
    def parse(cls, written: str) -> Self:
        """Read it from a setting. Raises: ValueError that says what it should look like."""
        wanted = "https://host[:port] without a path, or http://localhost[:port] on one's own machine"
        try:
            parts = urlsplit(written)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise ValueError(wanted) from None
        secure = parts.scheme == "https"
        plain = parts.scheme == "http" and host in _LOCAL
        extra = parts.path.rstrip("/") or parts.query or parts.fragment or parts.username or parts.password
        if not host or not host.isascii() or not (secure or plain) or extra:
            raise ValueError(wanted)
        usual = 443 if secure else 80
        shown = f"[{host}]" if ":" in host else host
        at = shown if port in (None, usual) else f"{shown}:{port}"
        return cls(f"{parts.scheme}://{at}", host, secure)

    def headers(self, path: str) -> tuple[Header, ...]:
        """The headers that every answer carries, by the path that was asked for."""
        answer = path.startswith(("/api/", "/service/", "/openapi"))
        always: tuple[Header, ...] = (
            (b"content-security-policy", (_ANSWERS_MAY if answer else _PAGES_MAY).encode()),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
        )
        if answer:
            always = (*always, (b"cache-control", b"no-store"))
        if self.secure:
            always = (*always, (b"strict-transport-security", b"max-age=%d; includeSubDomains" % _YEAR_S))
        return always
