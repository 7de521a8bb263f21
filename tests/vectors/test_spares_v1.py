"""The published rules about spares; the web app's tests hold its own to the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from tenant_security.trust.entries import spares_after, wrong_spares
from tenant_security.wire import snapshot as words

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "spares-v1.json").read_text("utf-8"))


def assignments(given: list[list[Any]]) -> list[words.RecordAssignment]:
    return [words.RecordAssignment(*each) for each in given]


@pytest.mark.parametrize("vector", VECTORS["rules"], ids=lambda vector: vector["what"])
def test_which_spares_a_record_may_name(vector: dict[str, Any]) -> None:
    # A record without spares is not asked about them.
    why = wrong_spares(assignments(vector["assignments"]), vector["spares"]) if vector["spares"] else None
    assert (why is None) is vector["good"]


@pytest.mark.parametrize("vector", VECTORS["changes"], ids=lambda vector: vector["what"])
def test_what_becomes_of_spares(vector: dict[str, Any]) -> None:
    found = spares_after(assignments(vector["before"]), assignments(vector["after"]), vector["spares"])
    assert list(found) == vector["then"]
