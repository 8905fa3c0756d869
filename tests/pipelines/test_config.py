"""Every configuration of a corpus in the repository is valid, and its input files exist."""

import re
from pathlib import Path
from typing import get_args

import pytest
import yaml

from step3vl.data.storage import DEFAULT_STORE
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Files
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.domains import DOMAINS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/how-to/build-a-corpus.md"
FILES = [
    path.relative_to(ROOT)
    for pattern in (
        "workflows/*/corpus.yaml",
        "workflows/*/domains.yaml",
        "workflows/*/vqa.yaml",
        "tests/workflows/*/corpus.yaml",
    )
    for path in ROOT.glob(pattern)
]
COMPLETE = [path for path in FILES if path.parent.name not in ("small", "10b")]
"""Those whose files are in the repository; the others are of installed packages, or the user's."""


def check(text: str) -> CorpusConfig:
    config = CorpusConfig.model_validate(yaml.safe_load(text))
    context = StepContext(config.seed, str(ROOT))
    for entry in config.domains:
        entry.check(context)
        if isinstance(inputs := entry.inputs(), Files):
            for source in inputs.sources:
                for pattern in source.files:
                    assert any(list_pattern(pattern, "", entry=entry.name, base=str(ROOT), store=DEFAULT_STORE))
    return config


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_corpus_of_the_workflows_is_valid(path: Path) -> None:
    CorpusConfig.model_validate(yaml.safe_load((ROOT / path).read_text("utf-8")))


@pytest.mark.parametrize("path", COMPLETE, ids=str)
def test_the_files_of_a_corpus_are_in_the_repository(path: Path) -> None:
    check((ROOT / path).read_text("utf-8"))


@pytest.mark.parametrize("name", ["tiny/domains.yaml", "10b/corpus.yaml"])
def test_a_corpus_has_every_domain(name: str) -> None:
    config = CorpusConfig.model_validate(yaml.safe_load((ROOT / "workflows" / name).read_text("utf-8")))
    assert {entry.domain for entry in config.domains} == {
        name for name in DOMAINS if DOMAINS[name].entry.__module__.startswith("step3vl.")
    }


def test_the_how_to_page_shows_every_domain() -> None:
    match = re.search(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert match
    assert {entry.domain for entry in check(match[1]).domains} == set(DOMAINS)


def test_the_entry_union_is_the_registry() -> None:
    union, _ = get_args(get_args(CorpusConfig.model_fields["domains"].annotation)[0])
    assert set(get_args(union)) == {domain.entry for domain in DOMAINS.values()}
