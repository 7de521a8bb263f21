"""Names as people list them: whole, or a beginning that ends with ``*``."""

from collections.abc import Iterable


def names(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns names it. Only a last ``*`` has a meaning."""
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in patterns)
