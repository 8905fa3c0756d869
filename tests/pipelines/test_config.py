"""Every configuration of a corpus in the repository is valid, and its input files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from step3vl.data.config import explain_validation_error
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


def test_the_schema_has_the_entry_of_every_domain() -> None:
    items = CorpusConfig.model_json_schema()["properties"]["domains"]["items"]
    assert set(items["discriminator"]["mapping"]) == set(DOMAINS) and len(items["oneOf"]) == len(DOMAINS)


def test_a_configuration_imports_the_domains_that_it_names() -> None:
    code = (
        "import sys; from step3vl.pipelines.config import CorpusConfig\n"
        "entry = {'domain': 'maps', 'name': 'maps', 'count': 1}\n"
        "CorpusConfig.model_validate({'name': 'a', 'domains': [entry]}); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    domains = {name for name in done.stdout.split() if name.startswith("step3vl.pipelines.domains.")}
    assert domains == {"step3vl.pipelines.domains.maps"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "a"}, "domains.1: an entry needs a `domain`"),
        ({"name": "a", "domain": "mapz"}, "domains.1: there is no such domain; `step3vl corpus domains` lists them"),
        ({"name": "a", "domain": "maps", "count": 0}, "domains.1.count: Input should be greater than 0; found 0"),
        ("maps", "domains.1: an entry needs a `domain`"),
    ],
)
def test_a_mistake_in_an_entry_names_its_place(entry: object, message: str) -> None:
    good = {"domain": "maps", "name": "maps", "count": 1}
    with pytest.raises(ValidationError) as error:
        CorpusConfig.model_validate({"name": "a", "domains": [good, entry]})
    assert explain_validation_error(error.value).startswith(message)
