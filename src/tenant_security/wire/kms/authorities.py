"""Private certificate authorities, as a tenant writes them into a config: PEM, certificates and nothing else.

Source: RFC 7468.
"""

import re
from typing import Final

from cryptography import x509

_MOST_CHARACTERS: Final = 32_768
_MOST: Final = 8
_BLOCK: Final = re.compile(r"-----BEGIN ([^-]{1,64})-----[^-]{1,32768}-----END \1-----")
_LABEL: Final = "CERTIFICATE"


def check_authorities(text: str, member: str) -> None:
    """Check that a text is one to eight certificates in PEM.

    Trust: a private key that somebody pasted here by mistake is refused, so that it goes nowhere.
    Raises: ValueError that names the member.
    """
    if len(text) > _MOST_CHARACTERS or text.count("-----BEGIN ") > _MOST:
        raise ValueError(f"{member} is too long: give the certificates of your private authorities, at most {_MOST}")
    blocks = list(_BLOCK.finditer(text))
    if not blocks or len(blocks) != text.count("-----BEGIN ") or any(block[1] != _LABEL for block in blocks):
        raise ValueError(f"{member} must be certificates in PEM and nothing else")
    for block in blocks:
        try:
            x509.load_pem_x509_certificate(block[0].encode())
        except ValueError:
            raise ValueError(f"{member} holds something that is not a certificate") from None


def authorities_pem(text: str) -> bytes:
    """Return checked certificates without what people write around them."""
    return "\n".join(block[0] for block in _BLOCK.finditer(text)).encode()
