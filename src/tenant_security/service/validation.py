"""What Litestar found wrong with a request, in one line."""

from litestar.exceptions import HTTPException


def detail_of(refusal: HTTPException) -> str:
    """Say which member of a body or query is wrong; never its value."""
    if isinstance(refusal.extra, list):
        wrong = [
            f"{each.get('key', 'the body')}: {each.get('message')}" for each in refusal.extra if isinstance(each, dict)
        ]
        if wrong:
            return "; ".join(wrong)
    return refusal.detail
