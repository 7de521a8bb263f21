"""TLS towards the proxy: whose certificates are believed, and the client's own where the proxy asks for one."""

import ssl
from pathlib import Path


def tls_context(
    *,
    authorities: str | Path | None = None,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
    password: str | None = None,
) -> ssl.SSLContext:
    """Return what to give a client as ``tls``.

    ``authorities`` is a PEM file with the only certificate authorities to believe; without it the system's are.
    ``certificate`` (PEM, with its chain) and ``key`` are the client's own, for mutual TLS; ``password`` opens the key.

    Raises: OSError, ssl.SSLError when a file cannot be read or does not hold what it should.
    """
    if key is not None and certificate is None:
        raise ValueError("a key needs its certificate")
    context = ssl.create_default_context(cafile=None if authorities is None else str(authorities))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(certificate, key, password)
    return context
