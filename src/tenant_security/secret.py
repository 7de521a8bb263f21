"""A value that must never be printed, logged, compared in variable time or stored by accident."""

from typing import Final, Generic, NoReturn, TypeVar, final

T = TypeVar("T")


@final
class Secret(Generic[T]):
    """Holds one secret value; the only way to see it is :meth:`reveal`, on the line that uses it.

    Trust: prints as ``<secret>`` everywhere, cannot be pickled or copied into JSON, has no ordering or equality by
    value (compare revealed bytes with ``hmac.compare_digest``).
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value: Final[T] = value

    def reveal(self) -> T:
        """Return the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "<secret>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "<secret>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied; reveal it where it is used")
