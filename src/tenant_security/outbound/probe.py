"""Asks one address whether it is well: the health check of images that have no shell and no curl.

``python -m tenant_security.outbound.probe http://127.0.0.1:9000/live`` leaves with 0 when the answer is 200, else 1. Of
several addresses one is enough: a port speaks HTTP or HTTPS, as the daemon was set up.
"""

import http.client
import ssl
import sys
from urllib.parse import urlsplit

_WITHIN_S = 2.0
_OK = 200


def is_well(url: str) -> bool:
    """Whether an address of this machine answers 200 within two seconds. Its certificate is not looked at."""
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme == "https":
        # Nothing is told to whoever answers, and a certificate seldom names the loopback address.
        unchecked = ssl._create_unverified_context()  # noqa: S323, SLF001 - the stdlib's name for it
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=_WITHIN_S, context=unchecked
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=_WITHIN_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if any(is_well(each) for each in sys.argv[1:]) else 1)
