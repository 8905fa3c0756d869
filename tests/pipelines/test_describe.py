"""`corpus domains` and the JSON Schema of a corpus describe every field, and their examples are configurations."""

import json
from pathlib import Path
from typing import Any, Literal

import jsonschema
import pytest
import yaml

from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.domain import FileSource
from step3vl.pipelines.describe import corpus_schema, describe_domains, schema_text, type_name
from step3vl.pipelines.domains import DOMAINS


def test_every_field_of_every_domain_is_described() -> None:
    descriptions = describe_domains()
    assert [description.name for description in descriptions] == sorted(DOMAINS)
    for description in descriptions:
        assert description.summary
        for field in description.fields:
            assert field.description, f"{description.name}.{field.name} has no docstring"


def test_the_example_of_every_domain_is_a_whole_corpus() -> None:
    for description in describe_domains():
        config = CorpusConfig.model_validate(yaml.safe_load(description.example))
        assert config.domains[0].domain == description.name


def test_a_required_field_has_no_default() -> None:
    (maps,) = (description for description in describe_domains() if description.name == "maps")
    fields = {field.name: field for field in maps.fields}
    assert fields["count"].default is None
    assert (fields["zoom"].type, fields["zoom"].default) == ("[float, float]", "[0.2, 0.7]")


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (int | None, "int | null"),
        (Literal["red", "blue"], "red | blue"),
        (tuple[str, ...], "[str, …]"),
        (tuple[int, int], "[int, int]"),
        (dict[Literal["a", "b"], float], "{a | b: float}"),
        (int | tuple[str, ...], "int | [str, …]"),
        (tuple[FileSource, ...], "[{files: [str, …], licence: str, optional: bool}, …]"),
    ],
)
def test_types_are_named_in_the_terms_of_yaml(annotation: Any, name: str) -> None:
    assert type_name(annotation) == name


def test_the_published_schema_is_current() -> None:
    assert Path("pipelines/corpus.schema.json").read_text("utf-8") == schema_text(), (
        "write it again: .venv/bin/python -c 'from step3vl.pipelines.describe import schema_text; "
        'print(schema_text(), end="")\' > pipelines/corpus.schema.json'
    )


@pytest.mark.parametrize("path", ["workflows/tiny/corpus.yaml", "workflows/10b/corpus.yaml"])
def test_the_schema_accepts_our_corpora_and_refuses_a_misspelt_field(path: str) -> None:
    validator = jsonschema.Draft202012Validator(corpus_schema())
    corpus = yaml.safe_load(Path(path).read_text("utf-8"))
    validator.validate(corpus)
    corpus["domains"][0]["cuont"] = 3
    assert not validator.is_valid(corpus)
    assert json.loads(schema_text())["title"] == "CorpusConfig"
