"""The Dockerfile, read as its builder does: what each target starts, asks itself, sets and keeps."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def instructions() -> list[tuple[str, str]]:
    """Every instruction, its lines joined."""
    joined = re.sub(r"\\\n\s*", " ", DOCKERFILE)
    lines = [line.strip() for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage by its name; the first is the base."""
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for word, rest in instructions():
        if word == "FROM":
            name = rest.rpartition(" AS ")[2]
            found[name] = [("FROM", rest.partition(" AS ")[0])]
        elif name:
            found[name].append((word, rest))
    return found


class Image(NamedTuple):
    """What a container of one target is."""

    command: list[str]
    health: list[str]
    environ: dict[str, str]
    volumes: list[str]
    ports: list[int]


def image(target: str) -> Image:
    """One target, with what it has from its base."""
    lines = stages()
    inherited = [*lines["runtime"], *lines[target]]

    def last(word: str) -> Any:
        return json.loads(next(rest for each, rest in reversed(inherited) if each == word))

    health = next(rest.partition("CMD ")[2] for word, rest in inherited if word == "HEALTHCHECK")
    environ = [each for word, rest in inherited if word == "ENV" for each in rest.split()]
    volumes = [place for word, rest in inherited if word == "VOLUME" for place in json.loads(rest)]
    ports = [int(each) for word, rest in inherited if word == "EXPOSE" for each in rest.split()]
    return Image(
        last("ENTRYPOINT") + last("CMD"),
        json.loads(health),
        dict(each.split("=", 1) for each in environ),
        volumes,
        ports,
    )
