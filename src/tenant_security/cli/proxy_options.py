"""How commands that talk to a proxy find it: the same options for all of them."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from tenant_security.cli.explain import fail
from tenant_security.client import DocumentFormat, RetryPolicy, TenantSecurityClient, tls_context

URL_VARIABLE: Final = "TENANT_SECURITY_PROXY"
KEY_VARIABLES: Final = ("TENANT_SECURITY_API_KEY", "API_KEY")


@Parameter(name="*")
@dataclass(frozen=True)
class ProxyOptions:
    """Where the proxy is. The API key comes from the environment or a file, never from the command line."""

    proxy: Annotated[str, Parameter(env_var=URL_VARIABLE)] = "http://localhost:7777"
    """The proxy's address."""
    api_key_file: Path | None = None
    """A file that holds the API key. Without it TENANT_SECURITY_API_KEY counts, then API_KEY."""
    allow_insecure_http: bool = False
    """Let http:// pass to another host than this one. To localhost it passes anyway."""
    ca: Path | None = None
    """A PEM file with the only certificate authorities to believe."""
    cert: Path | None = None
    """Our own certificate, for a proxy that asks for one (PEM)."""
    key: Path | None = None
    """The key of our certificate (PEM)."""

    def client(
        self, *, document_format: DocumentFormat = DocumentFormat.V3, repetitions: int = 2, connections: int = 32
    ) -> TenantSecurityClient:
        """Make the client. Exits with words when something is missing."""
        try:
            return TenantSecurityClient(
                self.proxy,
                self._api_key(),
                allow_insecure_http=self.allow_insecure_http or _is_local(self.proxy),
                tls=self._tls(),
                retry=RetryPolicy(repetitions=repetitions),
                document_format=document_format,
                connections=connections,
            )
        except (ValueError, ssl.SSLError) as wrong:
            fail(str(wrong))
            raise

    def _api_key(self) -> str:
        if self.api_key_file is not None:
            return self.api_key_file.read_text().strip()
        for name in KEY_VARIABLES:
            if os.environ.get(name):
                return os.environ[name]
        raise ValueError(f"the proxy's API key is missing: set {KEY_VARIABLES[0]}, or name a file with --api-key-file")

    def _tls(self) -> ssl.SSLContext | None:
        if self.ca is None and self.cert is None:
            return None
        return tls_context(authorities=self.ca, certificate=self.cert, key=self.key)


HERE: Final = ProxyOptions()


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in {"localhost", "127.0.0.1", "::1"}
