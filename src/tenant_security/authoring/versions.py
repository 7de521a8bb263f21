"""How documents are numbered."""


def next_version(previous: int, now_s: int) -> int:
    """Return a version above ``previous`` that is also above every version made in earlier seconds.

    Counting by the clock keeps versions rising even for an author who has lost the earlier document, or takes back a
    tenant that was removed; readers refuse what is older than they have seen.
    """
    return max(previous + 1, now_s)
