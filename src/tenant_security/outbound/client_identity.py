"""TLS contexts for connections that are no HTTP, with a certificate of our own where the peer asks for one.

Python's ssl reads a certificate's key from files only. On Linux it gets one that lies in memory and has no
name; elsewhere one that only we may read, for a moment.
"""

import os
import ssl
import sys
import tempfile
from pathlib import Path

from tenant_security.outbound.receivers import ClientIdentity


def tls_context(authorities: bytes, identity: ClientIdentity | None, usual: ssl.SSLContext | None) -> ssl.SSLContext:
    """Return a context that trusts only these authorities, where there are any, and shows this certificate.

    ``usual``: what the driver verifies peers by; None: the system's authorities.
    Raises: ssl.SSLError when a certificate or a key is none.
    """
    if not authorities and identity is None and usual is not None:
        return usual
    try:
        context = ssl.create_default_context(cadata=authorities.decode("ascii") if authorities else None)
    except ValueError:
        raise ssl.SSLError("these are no certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if identity is not None:
        _load(context, identity)
    return context


def _load(context: ssl.SSLContext, identity: ClientIdentity) -> None:
    if sys.platform != "linux":
        with tempfile.NamedTemporaryFile() as named:
            named.write(identity.certificate + b"\n" + identity.key.reveal())
            named.flush()
            context.load_cert_chain(named.name, password=b"")
        return
    memory = os.memfd_create("identity", os.MFD_CLOEXEC)
    try:
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(identity.certificate + b"\n" + identity.key.reveal())
        # A passphrase would be asked for on the terminal; an empty one fails instead.
        context.load_cert_chain(Path(f"/proc/self/fd/{memory}"), password=b"")
    finally:
        os.close(memory)
