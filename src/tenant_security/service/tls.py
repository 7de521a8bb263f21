"""TLS on a daemon's own ports: a certificate, perhaps clients' too, read again on change.

A file that cannot be used changes nothing: the daemon serves on with what it had and says so. A new certificate counts
for new connections; those that are open go on.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from tenant_security.errors import SettingsError
from tenant_security.service.stamps import stamp

_LOOK_S: Final = 15.0
"""How often the files are looked at. Units: seconds."""


OPS_CERTIFICATE: Final = (
    "PEM of the certificate, with its chain, for health and metrics: with it that port speaks HTTPS only. Read again "
    "on change."
)
OPS_KEY: Final = "PEM of its private key, not encrypted."
OPS_AUTHORITIES: Final = (
    "PEM of the authorities whose certificates clients of health and metrics must show. Use private ones."
)
OPS_NAMES: Final = (
    "Which of them: DNS names or URIs of their certificates, divided by commas. Empty: all certified ones."
)
"""What the four settings of a daemon's ops port mean, whose names every daemon begins for itself."""


class TlsFiles(NamedTuple):
    """Where the PEM files lie. With ``client_authorities`` clients must show a certificate of theirs."""

    certificate: Path
    key: Path
    client_authorities: Path | None = None

    def context(self) -> ssl.SSLContext:
        """Read the files. Blocks. Raises: SettingsError that says which file is wrong and how."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        # The daemon has many clients and a restart is no reason for all of them to shake hands in full.
        context.num_tickets = 2
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
        except OSError as refused:
            raise SettingsError(
                [f"the certificate {self.certificate} and its key {self.key} cannot be used: {_why(refused)}"]
            ) from None
        if self.client_authorities is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(self.client_authorities)
            except OSError as refused:
                raise SettingsError(
                    [f"the authorities {self.client_authorities} cannot be used: {_why(refused)}"]
                ) from None
        return context

    def stamps(self) -> tuple[object, ...]:
        """What changes when a file does. Blocks."""
        return tuple(stamp(path) for path in self if path is not None)


def tls_files(certificate: Path | None, key: Path | None, authorities: Path | None, prefix: str) -> TlsFiles | None:
    """Put a daemon's settings together; None where it does not serve TLS. Raises: SettingsError."""
    if certificate is None and key is None:
        if authorities is not None:
            raise SettingsError([f"{prefix}_TLS_CLIENT_CA_FILE needs {prefix}_TLS_CERTIFICATE_FILE beside it"])
        return None
    if certificate is None or key is None:
        raise SettingsError([f"{prefix}_TLS_CERTIFICATE_FILE and {prefix}_TLS_KEY_FILE belong together; set both"])
    return TlsFiles(certificate, key, authorities)


def names(text: str) -> frozenset[str]:
    """Read a list of names, such as ``app.example.com, spiffe://example.com/app``."""
    found = frozenset(each.strip() for each in text.split(",") if each.strip())
    if not found:
        raise ValueError("names of certificates, divided by commas")
    return found


def names_of(certificate: Any) -> frozenset[str]:
    """Return the names that a client's certificate has: DNS names and URIs. Shape: as ``SSLSocket.getpeercert``."""
    alternatives: Iterable[tuple[str, str]] = (certificate or {}).get("subjectAltName", ())
    return frozenset(value for kind, value in alternatives if kind in ("DNS", "URI"))


class OwnTls:
    """The certificate of a daemon's servers. Without ``files`` they speak plain HTTP, and everything here does nothing.

    Raises: SettingsError when the files cannot be used at the start.
    """

    def __init__(self, files: TlsFiles | None, log: structlog.typing.FilteringBoundLogger) -> None:
        self._files: Final = files
        self._log: Final = log
        self._seen = files.stamps() if files is not None else ()
        self._uses: list[Callable[[ssl.SSLContext], Awaitable[None]]] = []
        self.context: Final = files.context() if files is not None else None

    def renews(self, use: Callable[[ssl.SSLContext], Awaitable[None]]) -> None:
        """Have somebody told of new certificates."""
        self._uses.append(use)

    async def renew(self) -> bool:
        """Use the files as they are now; where they cannot be used, keep what there was. Returns which."""
        if self._files is None:
            return True
        seen = await asyncio.to_thread(self._files.stamps)
        try:
            context = await asyncio.to_thread(self._files.context)
        except SettingsError as wrong:
            self._log.error("the new certificate cannot be used; the old one stays", reason="; ".join(wrong.problems))
            return False
        for use in self._uses:
            await use(context)
        self._seen = seen
        self._log.info("the certificate was read again", file=str(self._files.certificate))
        return True

    async def follow(self, look_s: float = _LOOK_S) -> None:
        """Look at the files from time to time, and use them anew when they have changed, until cancelled."""
        tried = self._seen
        while self._files is not None:
            await asyncio.sleep(look_s)
            now = await asyncio.to_thread(self._files.stamps)
            if now not in (self._seen, tried):
                await self.renew()
                tried = now


def _no_passphrase() -> str:
    raise OSError("the key is encrypted; give the daemon one that is not, in a file that only it can read")


def _why(refused: OSError) -> str:
    """OpenSSL's own words name no content, and end with where in its source it was."""
    return (refused.strerror or str(refused)).partition(" (_ssl.c")[0]
