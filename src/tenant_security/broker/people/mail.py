"""Mail: by SMTP, or into a directory or the log while one develops.

Shape of the setting: ``smtp://user:password@host:587`` (STARTTLS is required), ``smtps://user:password@host:465``,
``smtp-plain://host:25`` (no TLS, for a relay on the same machine), ``file:///directory``, ``console:``.
"""

import asyncio
import contextlib
import smtplib
import ssl
import uuid
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from email.utils import formatdate, make_msgid, parseaddr
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import unquote, urlsplit

_WAIT_S: Final = 10.0
_WHOLE_S: Final = 30.0
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 64
_PORTS: Final = {"smtp": 587, "smtps": 465, "smtp-plain": 25}
_CONTROL: Final = {ord(letter): " " for letter in "\r\n\t"}


class MailError(Exception):
    """A message was not handed over. The message says why, and names nobody."""


class MailRoute(NamedTuple):
    """How mail goes out."""

    kind: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""
    directory: Path = Path()

    def __repr__(self) -> str:
        return f"<mail by {self.kind}>"

    @classmethod
    def parse(cls, written: str) -> Self:
        """Read it from a setting. Raises: ValueError that says what it should look like."""
        wanted = "smtp://user:password@host:587, smtps://…:465, smtp-plain://host:25, file:///directory or console:"
        try:
            parts = urlsplit(written)
            port = parts.port
        except ValueError:
            raise ValueError(wanted) from None
        if parts.scheme == "console":
            return cls("console")
        if parts.scheme == "file" and parts.path:
            return cls("file", directory=Path(unquote(parts.path)))
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(wanted)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "smtp-plain" and password:
            raise ValueError("smtp:// or smtps:// where there is a password; smtp-plain:// would show it to everybody")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme], user, password)


class Mail:
    """Sends messages, a few at a time, in threads. One for a process."""

    def __init__(
        self,
        route: MailRoute,
        sender: str,
        *,
        authorities: ssl.SSLContext | None = None,
        console: Callable[[str], None] = print,
    ) -> None:
        self._route: Final = route
        self._sender: Final = sender
        self._authorities: Final = authorities
        self._console: Final = console
        self._places: Final = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    async def send(self, to: str, subject: str, text: str) -> None:
        """Hand a message over.

        Raises: MailError.
        """
        if self._waiting >= _MOST_WAITING:
            raise MailError("too many messages wait already")
        message = _message(self._sender, to, subject, text)
        self._waiting += 1
        try:
            async with asyncio.timeout(_WHOLE_S), self._places:
                await asyncio.to_thread(self._hand_over, message)
        except TimeoutError:
            raise MailError("the mail server did not answer in time") from None
        except (smtplib.SMTPException, OSError) as refused:
            raise MailError(f"the mail server refused: {type(refused).__name__}") from None
        finally:
            self._waiting -= 1

    def _hand_over(self, message: EmailMessage) -> None:
        match self._route.kind:
            case "console":
                self._console(message.as_string())
            case "file":
                self._route.directory.mkdir(parents=True, exist_ok=True)
                (self._route.directory / f"{uuid.uuid4()}.eml").write_bytes(message.as_bytes())
            case _:
                with self._connected() as server:
                    server.send_message(message)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[smtplib.SMTP]:
        route = self._route
        context = self._authorities or ssl.create_default_context()
        server = (
            smtplib.SMTP_SSL(route.host, route.port, timeout=_WAIT_S, context=context)
            if route.kind == "smtps"
            else smtplib.SMTP(route.host, route.port, timeout=_WAIT_S)
        )
        with server:
            if route.kind == "smtp":
                server.starttls(context=context)
            if route.user:
                server.login(route.user, route.password)
            yield server


def sender(written: str) -> str:
    """Read the setting of who sends. Raises: ValueError."""
    if "@" not in parseaddr(written)[1]:
        raise ValueError("an address such as Acme <broker@acme.example>")
    return written


def _message(sender_: str, to: str, subject: str, text: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = sender_
    message["To"] = to
    # The library refuses line breaks in headers; names that people chose must not make it refuse.
    message["Subject"] = subject.translate(_CONTROL)
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=parseaddr(sender_)[1].rpartition("@")[2])
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message
