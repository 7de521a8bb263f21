"""Writes ``client/reference.md`` from the docstrings of what ``tenant_security.client`` exports."""

import enum
import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from tenant_security import client
from tenant_security.client.integrations import django, fastapi, s3, sqlalchemy
from tenant_security.testing import memory_proxy

_GROUPS: Final = {
    "Clients": ("TenantSecurityClient", "AsyncTenantSecurityClient"),
    "What goes in and comes out": (
        "Metadata", "EncryptedDocument", "EncryptedValue", "BatchResult", "DocumentFormat", "DocumentEncryptor",
        "DocumentDecryptor",
    ),
    "Deterministic fields": (
        "DeterministicClient", "AsyncDeterministicClient", "Field", "EncryptedField", "FieldForm",
    ),
    "Cached keys": ("CachedKey", "AsyncCachedKey", "CachedKeyLimits"),
    "Security events": ("AdminEvent", "DataEvent", "PeriodicEvent", "UserEvent", "CustomEvent", "SecurityEvent"),
    "Connection": ("RetryPolicy", "tls_context"),
    "For whom": ("acting_for", "current_metadata", "NoTenantError"),
    "Errors": (
        "ClientError", "ServiceError", "UnreachableProxyError", "KmsError", "SecurityEventError", "TenantSecretError",
        "DocumentError", "UnverifiedPlaintextError", "CachedKeyExpiredError", "ClientCode", "Code", "Fixer",
    ),
}  # fmt: skip
_MODULES: Final = {
    "Django": (
        django,
        ("EncryptedTextField", "EncryptedBinaryField", "TenantMiddleware", "Sealed", "open_all", "default_client"),
    ),
    "SQLAlchemy": (sqlalchemy, ("EncryptedText", "EncryptedBytes", "DeterministicText", "DeterministicBytes")),
    "FastAPI": (fastapi, ("TenantSecurity", "TenantKeys")),
    "S3": (s3, ("EncryptedObjects",)),
    "For tests": (memory_proxy, ("MemoryProxy", "Call", "ReportedEvent")),
}  # fmt: skip
_INHERITED: Final = frozenset({"encode", "decode"})


def reference_page() -> str:
    """Return the whole page. Raises: ValueError when something public stands in no group."""
    listed = {name for names in _GROUPS.values() for name in names}
    if listed != set(client.__all__):
        raise ValueError(f"the client reference and the client differ: {sorted(listed ^ set(client.__all__))}")
    lines = [
        "# Reference of the Python client",
        "",
        "Written from the docstrings by `python -m docs.generate`. Begin with [quickstart.md](quickstart.md).",
        "",
        "`AsyncTenantSecurityClient` has the methods of `TenantSecurityClient`, to be awaited; they raise the same.",
    ]
    for title, names in _GROUPS.items():
        lines += ["", f"## {title}", "", "From `tenant_security.client`."]
        for name in names:
            lines += _member(name, getattr(client, name))
    for title, (module, names) in _MODULES.items():
        lines += ["", f"## {title}", "", f"From `{module.__name__}`."]
        for name in names:
            lines += _member(name, getattr(module, name))
    return "\n".join(lines) + "\n"


def _member(name: str, what: Any) -> Iterator[str]:
    yield ""
    yield f"### {name}"
    yield ""
    if inspect.isclass(what):
        if _has_constructor(what):
            yield f"`{name}{_signature(what)}`"
            yield ""
        yield from _prose(what)
        if issubclass(what, enum.Enum):
            yield ""
            yield from (f"- `{each.name}`: `{each.value}`" for each in what)
            return
        for method, function in vars(what).items():
            if method.startswith("_") or method in _INHERITED:
                continue
            yield from _method(method, function)
        return
    yield f"`{name}{_signature(what)}`"
    yield ""
    yield from _prose(what)


def _method(name: str, function: Any) -> Iterator[str]:
    if isinstance(function, property):
        heading, documented = f"`{name}`", function.fget
    elif inspect.isfunction(function) or isinstance(function, classmethod):
        documented = function.__func__ if isinstance(function, classmethod) else function
        heading = f"`{name}{_signature(documented)}`"
    else:
        return
    if not documented.__doc__:
        return
    yield ""
    yield f"#### {heading}"
    yield ""
    yield from _prose(documented)


def _has_constructor(what: type) -> bool:
    return not issubclass(what, enum.Enum) and (not issubclass(what, Exception) or what is client.ClientError)


def _signature(of: Any) -> str:
    """A signature without ``self`` and without module names."""
    signature = inspect.signature(of)
    parameters = [each for each in signature.parameters.values() if each.name not in {"self", "cls"}]
    plain = [each.replace(annotation=inspect.Parameter.empty, default=_plain(each.default)) for each in parameters]
    returned = signature.return_annotation
    text = str(inspect.Signature(plain))
    if inspect.isclass(of) or returned is inspect.Signature.empty:
        return text
    named = returned if isinstance(returned, str) else inspect.formatannotation(returned)
    return f"{text} -> {re.sub(r'(?:[a-z_]+[.])+', '', named)}"


def _plain(default: Any) -> Any:
    """A default value as one would write it."""
    if isinstance(default, enum.Enum):
        return _Verbatim(f"{type(default).__name__}.{default.name}")
    return default


class _Verbatim:
    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _prose(of: Any) -> Iterator[str]:
    """A docstring as Markdown: its sections become lists, its indented examples become code."""
    text = inspect.getdoc(of) or ""
    text = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    prose, *sections = re.split(r"^((?:Args|Raises):)$", text, flags=re.MULTILINE)
    in_code = False
    for line in prose.rstrip().splitlines():
        code = line.startswith("    ") or (in_code and not line)
        if code != in_code:
            yield "```python" if code else "```"
            in_code = code
        yield line.removeprefix("    ")
    if in_code:
        yield "```"
    for title, items in zip(sections[::2], sections[1::2], strict=True):
        yield from ("", title.replace("Args:", "Arguments:"), "")
        for item in re.findall(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", items, re.MULTILINE):
            yield f"- `{item[0]}`: {' '.join(item[1].split())}"
