"""What is released: the same bytes by both ways, installed into an empty environment, and whole."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def run(*command: str, within_s: int = 250, **options: object) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=within_s, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place: Path = tmp_path_factory.mktemp("dist")
    built = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(place), str(ROOT)]
    run(*built, env={**os.environ, **EPOCH})
    return place


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment that holds the wheel and what the client needs, and nothing else."""
    place = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", str(place))
    made = str(place / "bin/python")
    run(made, "-m", "pip", "install", "-q", "--require-hashes", "-r", str(ROOT / "requirements/client.txt"))
    run(made, "-m", "pip", "install", "-q", "--no-deps", *map(str, dist.glob("*.whl")))
    return made


def test_the_wheel_has_the_same_bytes_from_the_source_distribution_elsewhere_and_later(
    dist: Path, tmp_path: Path
) -> None:
    (source,) = dist.glob("*.tar.gz")
    run("tar", "-xzmf", str(source), "-C", str(tmp_path))  # with the times of now
    (unpacked,) = tmp_path.iterdir()
    (unpacked / "PKG-INFO").unlink()  # a checkout has none
    again = tmp_path / "again"
    built = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(again), str(unpacked)]
    run(*built, env={**os.environ, **EPOCH, "TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"})
    (wheel,), (rebuilt,) = dist.glob("*.whl"), again.glob("*.whl")
    assert names(wheel) == names(rebuilt)
    assert wheel.read_bytes() == rebuilt.read_bytes()
    assert source.read_bytes() == (again / source.name).read_bytes()
    assert {name for name in names(rebuilt) if "tests/" in name or "bench/" in name} == set()
    with zipfile.ZipFile(wheel) as archive:
        assert {each.date_time[0] for each in archive.infolist()} == {2023}


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_base_install_is_the_client_and_no_server(python: str) -> None:
    code = "from tenant_security.client import TenantSecurityClient, Metadata; print('here')"
    assert run(python, "-c", code, cwd="/").stdout.strip() == "here"
    listed = json.loads(run(python, "-m", "pip", "list", "--format", "json").stdout)
    installed = {each["name"].lower() for each in listed}
    assert not installed & {"uvicorn", "litestar", "sqlalchemy", "botocore", "structlog"}
    run(python, "-m", "pip", "check")


def test_a_command_without_its_extra_says_which_one(python: str) -> None:
    command = str(Path(python).with_name("tenant-security"))
    refused = subprocess.run([command, "proxy"], capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode != 0
    assert "pip install" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_every_pinned_dependency_is_in_the_sbom(tmp_path: Path) -> None:
    tool = str(Path(sys.executable).with_name("cyclonedx-py"))
    out = tmp_path / "sbom.json"
    lock = ROOT / "requirements/run.txt"
    options = ["--pyproject", str(ROOT / "pyproject.toml"), "--of", "JSON", "--output-file", str(out)]
    run(tool, "requirements", str(lock), *options)
    pinned = {line.partition("==")[0].partition("[")[0] for line in lock.read_text().splitlines() if "==" in line}
    listed = {each["name"] for each in json.loads(out.read_text())["components"]}
    assert pinned <= listed


def test_an_image_lists_what_is_inside(python: str, tmp_path: Path) -> None:
    install = (ROOT / "deploy/install").read_text()
    (line,) = [each for each in install.splitlines() if "cyclonedx-py" in each]
    out = tmp_path / "sbom.json"
    places = {
        "/sbom/bin/cyclonedx-py": str(Path(sys.executable).with_name("cyclonedx-py")),
        "/opt/tenant-security/sbom.cdx.json": str(out),
        "/opt/tenant-security/bin/python": python,
    }
    run(*(places.get(word, word) for word in line.split()))
    listed = {each["name"] for each in json.loads(out.read_text())["components"]}
    assert {"tenant-security", "cryptography", "aiohttp", "msgspec"} <= listed
    assert "litestar" not in listed
