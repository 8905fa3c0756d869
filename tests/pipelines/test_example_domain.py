"""`examples/colour_domain`, a domain in a package of its own, is installed and built through its entry point."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from step3vl.data.dataset import Dataset

EXAMPLE = Path(__file__).parents[2] / "examples/colour_domain"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed, which needs no package index: setuptools is here, dependencies are too."""
    folder = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, folder / "source")  # setuptools writes beside the source
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder / "packages")]
    subprocess.run([*pip, *options, str(source)], check=True, cwd=folder)
    return folder / "packages"


def step3vl(*arguments: str, packages: Path, cwd: Path) -> str:
    command = [sys.executable, "-m", "step3vl.workflows.cli", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(packages), "COLUMNS": "150"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_is_listed_with_its_fields(packages: Path, tmp_path: Path) -> None:
    listing = step3vl("corpus", "domains", "colours", packages=packages, cwd=tmp_path)
    assert "max_luminance" in listing and "Colours above it are dropped" in listing


def test_it_builds(packages: Path, tmp_path: Path) -> None:
    step3vl("corpus", "build", str(EXAMPLE / "corpus.yaml"), "--out", "out", packages=packages, cwd=tmp_path)
    dataset = Dataset.open(tmp_path / "out")
    steps = {step.name: step for step in dataset.manifest.ledger}
    assert steps["patches.build"].read == 40
    assert steps["patches.build"].kept + steps["patches.build"].dropped["too_light"] == 40
    assert sum(shard.samples for shard in dataset.manifest.shards) > 0
