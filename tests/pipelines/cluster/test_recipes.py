"""What the page about clusters, the image and the recipes name exists: options of Beam, files, versions, the port."""

import re
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions

from step3vl.pipelines.core.beam import beam_options

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/how-to/run-on-a-cluster.md"
IMAGE = ROOT / "pipelines/Containerfile"
RECIPES = sorted((ROOT / "workflows/launch").glob("*.yaml"))
ASKED_OF_THE_JAVA_SERVER = {"number_of_execution_retries"}  # not known to Beam for Python; see FlinkPipelineOptions
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


def flags_of(block: str) -> list[str]:
    """The options of Beam in a block of YAML; the last, where a key is repeated as an alternative."""
    documents = [line for line in block.splitlines() if line.startswith("beam_options: [")]
    return [flag for text in documents or [block] for flag in yaml.safe_load(text).get("beam_options", [])]


@pytest.mark.parametrize("block", [block for block in BLOCKS if flags_of(block)])
def test_beam_knows_every_option_of_the_page(block: str) -> None:
    flags = flags_of(block)
    names = {flag.removeprefix("--").split("=")[0] for flag in flags} - ASKED_OF_THE_JAVA_SERVER
    assert names <= PipelineOptions([]).get_all_options().keys()
    beam_options(flags)


def test_the_image_has_the_version_of_beam_that_is_installed_and_copies_what_there_is() -> None:
    text = IMAGE.read_text()
    assert f"FROM apache/beam_python3.11_sdk:{version('apache-beam')}\n" in text
    for line in re.findall(r"^COPY (.*)", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (ROOT / source).exists(), source


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_starts_pools_at_the_port_at_which_the_page_finds_them(path: Path) -> None:
    documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
    text = yaml.safe_dump_all(documents)
    assert "--worker_pool" in text and "containerPort: 50000" in text
    assert re.search(r"--environment_config=\S+:50000", PAGE.read_text())
    assert PAGE.exists() and all(document["metadata"]["name"].startswith("step3vl-") for document in documents)
