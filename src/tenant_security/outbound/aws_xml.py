"""Reads the small XML replies of AWS's query services, without trusting their writer."""

import xml.etree.ElementTree as ET


def leaves(body: bytes) -> dict[str, str]:
    """Return the text of every innermost element by its bare name; the first of a name counts. Empty when unreadable.

    Trust: the caller caps the size. A document with any declaration (``<!``) is refused, so no entity is ever defined;
    AWS sends none. It must be UTF-8, so that such a declaration cannot hide in another encoding.
    """
    try:
        text = body.decode()
        if "<!" in text:
            return {}
        root = ET.fromstring(text)  # noqa: S314 - no declarations reach it
    except (UnicodeDecodeError, ET.ParseError):
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        if len(element) == 0:
            found.setdefault(element.tag.rsplit("}", 1)[-1], (element.text or "").strip())
    return found
