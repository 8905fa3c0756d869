"""Every domain on every engine of one machine: the same bytes as in this process; `cluster/` has those of several."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.corpus import CorpusConfig, build_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

THREADS = ("--direct_num_workers=3", "--direct_running_mode=multi_threading", "--direct_runner_bundle_repeat=1")
PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
ENGINES: dict[str, dict[str, Any]] = {
    "threads-and-repeated-bundles": {"beam_options": THREADS},
    "processes-and-ray": {"beam_options": PROCESSES, "models": {"engine": "ray", "workers": 2}},
}
"""Repeated bundles: each runs twice, as where a runner retries one, and the outputs of one run are kept."""


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def build(
    micro_corpus: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, bytes]]:
    """The files of the micro corpus, built with these fields."""

    def build(name: str, **fields: Any) -> dict[str, bytes]:
        folder = tmp_path_factory.mktemp(name)
        corpus = micro_corpus(root=str(folder / "root"), **{"models": {"engine": "beam"}, **fields})
        build_corpus(CorpusConfig.model_validate(corpus), folder / "out")
        return tree(folder / "out")

    return build


@pytest.fixture(scope="module")
def expected(build: Callable[..., dict[str, bytes]]) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[2])
        return build("here")


@pytest.mark.parametrize("engine", ENGINES)
def test_every_domain_has_the_same_bytes_on_every_engine(
    build: Callable[..., dict[str, bytes]], expected: dict[str, bytes], engine: str
) -> None:
    assert build(engine, **ENGINES[engine]) == expected
