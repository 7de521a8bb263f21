"""Which HTTP proxy the environment names for an address: ``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``.

Asked only where a program's operator wants it. Nothing else of the environment is read, ``.netrc`` in particular: it
would put other credentials in the place of ours.
"""

from urllib.request import getproxies, proxy_bypass


def environment_proxy(scheme: str, host: str) -> str | None:
    """Return the address of the proxy for this scheme and host; None for none."""
    if proxy_bypass(host):
        return None
    named = getproxies()
    found = named.get(scheme) or named.get("all")
    if not found:
        return None
    return found if "://" in found else f"http://{found}"
