"""Asks one address whether it is well: the health check of images that have no shell and no curl.

``python -m tenant_security.outbound.probe http://127.0.0.1:9000/live`` leaves with 0 when the answer is 200, else 1.
"""

import http.client
import sys
from urllib.parse import urlsplit

_WITHIN_S = 2.0
_OK = 200


def is_well(url: str) -> bool:
    """Whether an ``http`` address answers 200 within two seconds."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=_WITHIN_S)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if len(sys.argv) == 2 and is_well(sys.argv[1]) else 1)  # noqa: PLR2004 - the program and one address
