"""What all tests share."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A machine under load must not fail a property for being slow; what a property costs is bounded by its examples.
settings.register_profile("here", deadline=None)
settings.load_profile("here")

_VECTORS = Path(__file__).parent / "vectors"


def load_vectors(name: str) -> list[dict[str, Any]]:
    """The vectors of one file under ``tests/vectors``."""
    found: list[dict[str, Any]] = json.loads((_VECTORS / f"{name}.json").read_text())["vectors"]
    assert found
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give ``@pytest.mark.vectors("edek-v1")`` a run for each vector of the file (``having`` that member)."""
    for mark in metafunc.definition.iter_markers("vectors"):
        found = [each for each in load_vectors(mark.args[0]) if mark.kwargs.get("having", "name") in each]
        metafunc.parametrize("vector", found, ids=[each["name"] for each in found])


def pytest_configure(config: pytest.Config) -> None:
    """Name the marker."""
    config.addinivalue_line(
        "markers", "vectors(file, having=member): run once for each vector of tests/vectors/<file>.json"
    )
