"""Every domain in processes of Beam and actors of Ray: the same bytes as in this process; `cluster/` has machines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from step3vl.pipelines.corpus import CorpusConfig, build_corpus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]

PROCESSES = ("--direct_num_workers=2", "--direct_running_mode=multi_processing", "--direct_runner_bundle_repeat=1")
"""Each bundle runs twice, as where a runner retries one, and the outputs of one run are kept."""


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a dataset."""
    paths = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


@pytest.fixture
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


def test_every_domain_has_the_same_bytes_on_every_engine(
    build: Callable[..., dict[str, bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    engines = {"beam_options": PROCESSES, "models": {"engine": "ray", "workers": 2}}
    assert build("engines", **engines) == build("here")
