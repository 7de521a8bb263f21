"""Every line that the daemons may log, read from their source."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "src/tenant_security"
LEVELS = {"debug", "info", "warning", "error", "critical", "exception"}
SERVICES = ("proxy", "logdriver", "broker", "bridge")
"""The packages that are a service; what others log is said by several of them."""


class Message(NamedTuple):
    """One line as it may be logged."""

    text: str
    level: str
    package: str
    members: frozenset[str]
    more: bool
    """Whether it has members whose names are not written there."""


class UnfindableError(Exception):
    """A message is put together where it is logged, so that nobody can look for it."""


def _is_a_logger(receiver: ast.expr) -> bool:
    name = (
        receiver.attr if isinstance(receiver, ast.Attribute) else receiver.id if isinstance(receiver, ast.Name) else ""
    )
    return name.lstrip("_") in ("log", "logger")


def messages_of(source: str, package: str) -> Iterator[Message]:
    """The messages of one module. Raises: UnfindableError."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        if not _is_a_logger(node.func.value):
            continue
        text = node.args[0] if node.args else None
        if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
            raise UnfindableError(f"{package}, line {node.lineno}: put what varies into members")
        members = frozenset(each.arg for each in node.keywords if each.arg is not None)
        more = any(each.arg is None for each in node.keywords)
        yield Message(text.value, node.func.attr, package, members, more)


@functools.cache
def all_messages() -> list[Message]:
    """Every message of the product, those of the same text, level and package as one."""
    found: dict[tuple[str, str, str], Message] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        package = path.relative_to(SOURCE).parts[0]
        for each in messages_of(path.read_text("utf-8"), package):
            known = found.setdefault(each[:3], each)
            found[each[:3]] = each._replace(members=each.members | known.members, more=each.more or known.more)
    return sorted(found.values())
