"""``tenant-security encrypt``, ``decrypt`` and ``inspect``: files on the command line."""

import json
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, Final, Literal

import msgspec
from cyclopts import Parameter

from tenant_security.cli.explain import explained, fail
from tenant_security.cli.proxy_options import HERE, ProxyOptions
from tenant_security.client import DocumentFormat, Metadata
from tenant_security.client.inspection import ENOUGH_BYTES, Description, Kind, describe

_EDEK_SUFFIX: Final = ".edek"

Requester = Annotated[str, Parameter(name=["--as"])]


def encrypt(
    file: Path,
    /,
    *,
    tenant: str,
    out: Path | None = None,
    edek: Path | None = None,
    attached: bool = False,
    form: Annotated[Literal["v3", "v5"], Parameter(name=["--format"])] = "v3",
    force: bool = False,
    requesting: Requester = "tenant-security command line",
    options: ProxyOptions = HERE,
) -> None:
    """Encrypt a file of any size for a tenant.

    Example:  tenant-security encrypt report.pdf --tenant tenant-gcp-l

    Writes report.pdf.enc and, beside it, its wrapped key in report.pdf.enc.edek; both are needed to decrypt it, neither
    is secret. With --attached the key is inside the file.

    Parameters
    ----------
    file
        What to encrypt.
    tenant
        Whose key encrypts it.
    out
        Where to put it; without it, FILE.enc.
    edek
        Where to put the wrapped key; without it, beside the file.
    attached
        Keep the wrapped key inside the file, in the form that Alloy reads.
    form
        The form of a file whose key lies beside it: v3 is what all clients read.
    force
        Replace files that are there already.
    requesting
        Who asks, as the tenant's audit trail shows it.
    """
    into = out or file.with_name(file.name + ".enc")
    with explained(), options.client(document_format=DocumentFormat(form)) as client:
        beside = edek or _beside(into)
        _check_free(force, into, *([] if attached else [beside]))
        metadata = Metadata(tenant, requesting_id=requesting)
        made = client.encrypt_file(file, into, metadata, attached=attached)
        if not attached:
            beside.write_text(made + "\n")
            print(f"{into}\n{beside}")
        else:
            print(into)


def decrypt(
    file: Path,
    /,
    *,
    tenant: str,
    out: Path | None = None,
    edek: Path | None = None,
    force: bool = False,
    requesting: Requester = "tenant-security command line",
    options: ProxyOptions = HERE,
) -> None:
    """Decrypt a file for a tenant. The result is there verified, or not at all.

    Example:  tenant-security decrypt report.pdf.enc --tenant tenant-gcp-l --out report.pdf

    Parameters
    ----------
    file
        What to decrypt.
    tenant
        Whose key encrypted it.
    out
        Where to put it; without it, FILE without its .enc.
    edek
        The file with its wrapped key; without it, FILE.edek where that is there, else the key is inside FILE.
    force
        Replace files that are there already.
    requesting
        Who asks, as the tenant's audit trail shows it.
    """
    into = out or (file.with_suffix("") if file.suffix == ".enc" else None)
    if into is None:
        fail(f"say with --out where to put what {file} holds")
        return
    with explained(), options.client() as client:
        _check_free(force, into)
        beside = edek or (_beside(file) if _beside(file).exists() else None)
        stored = None if beside is None else beside.read_text().strip()
        client.decrypt_file(file, into, Metadata(tenant, requesting_id=requesting), edek=stored)
        print(into)


def inspect(
    what: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    text: bool = False,
    as_json: Annotated[bool, Parameter(name=["--json"])] = False,
) -> None:
    """Say what bytes are: an EDEK or a document of any form. Needs no key and no proxy, and prints nothing secret.

    Example:  tenant-security inspect report.pdf.enc
              psql -Atc 'select edek from documents limit 1' | tenant-security inspect -

    Parameters
    ----------
    what
        A file, or - for what comes on standard input. Raw bytes and base64 are told apart.
    text
        WHAT is itself the base64 text to inspect.
    as_json
        Print one JSON object, for machines.
    """
    with explained():
        found = describe(*_given(what, text=text))
    if as_json:
        print(msgspec.json.encode(found).decode())
    else:
        for line in lines(found):
            print(line)
    if found.kind is Kind.UNKNOWN:
        sys.exit(1)


def lines(found: Description) -> list[str]:
    """A description for people."""
    told = json.loads(msgspec.json.encode(found))
    words = {
        "kind": "What it is",
        "total_bytes": "Length",
        "was_base64": "Written in base64",
        "form": "Form",
        "tenant_id": "Tenant, as its writer noted",
        "header_signed": "Header signed",
        "plaintext_bytes": "Length of the plaintext",
        "kms_config_id": "KMS config",
        "wrapped_bytes": "Length of the wrapped key",
        "leased": "Wrapped by a leased key",
        "lease_id": "Lease",
        "lease_config_id": "KMS config of the lease",
        "tenant_secret_id": "Tenant secret",
        "problem": "What is wrong",
    }
    return [f"{words[name]}: {_word(value)}" for name, value in told.items()]


def _word(value: object) -> str:
    match value:
        case True:
            return "yes"
        case False:
            return "no"
        case _:
            return str(value)


def _given(what: str, *, text: bool) -> tuple[bytes, int]:
    """The beginning of what was given, and the length of the whole."""
    if text:
        return what.encode(), len(what.encode())
    if what == "-":
        return _beginning(sys.stdin.buffer)
    with Path(what).open("rb") as file:
        return _beginning(file)


def _beginning(source: BinaryIO) -> tuple[bytes, int]:
    start = source.read(ENOUGH_BYTES)
    size = len(start)
    while piece := source.read(ENOUGH_BYTES):
        size += len(piece)
    return start, size


def _check_free(force: bool, *places: Path) -> None:
    for place in places:
        if place.exists() and not force:
            raise ValueError(f"{place} is there already; --force replaces it")


def _beside(file: Path) -> Path:
    return file.with_name(file.name + _EDEK_SUFFIX)
