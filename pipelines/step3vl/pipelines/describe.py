"""The domains and the configuration of a corpus, described for people and for editors."""

import json
from collections.abc import Iterable
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from step3vl.data.sample.json_schema import DIALECT
from step3vl.pipelines.config import CorpusConfig
from step3vl.pipelines.core.domain import Domain
from step3vl.pipelines.domains import DOMAINS


class FieldDescription(NamedTuple):
    """A field of an entry."""

    name: str
    type: str
    """In YAML's terms, such as `[int, int]` or `red | blue`."""
    default: str | None
    """As JSON; None where the field is required."""
    description: str


class DomainDescription(NamedTuple):
    """A domain as its user sees it."""

    name: str
    module: str
    """Where its code is."""
    summary: str
    fields: tuple[FieldDescription, ...]
    example: str
    """A whole corpus of this domain, as YAML."""


def describe_domains(domains: Iterable[Domain[Any]] = DOMAINS.values()) -> list[DomainDescription]:
    """Every domain with its fields and an example, in order of name."""
    return sorted((_describe(domain) for domain in domains), key=lambda description: description.name)


def corpus_schema() -> dict[str, Any]:
    """The JSON Schema of a corpus' YAML, with the entries of every installed domain."""
    schema = CorpusConfig.model_json_schema()
    references = schema["properties"]["domains"]["items"]["discriminator"]["mapping"]
    for name, reference in references.items():
        schema["$defs"][reference.rpartition("/")[2]]["examples"] = [example_entry(DOMAINS[name])]
    return {"$schema": DIALECT, "$id": "step3vl-corpus", **schema}


def schema_text() -> str:
    """The schema as the text of `pipelines/corpus.schema.json`."""
    return json.dumps(corpus_schema(), indent=2, ensure_ascii=False) + "\n"


def _describe(domain: Domain[Any]) -> DomainDescription:
    fields = domain.entry.model_fields.items()
    return DomainDescription(
        name=domain.name,
        module=domain.entry.__module__,
        summary=" ".join((domain.entry.__doc__ or "").split()),
        fields=tuple(_describe_field(name, field) for name, field in fields if name != "domain"),
        example=example_corpus(domain),
    )


def example_corpus(domain: Domain[Any]) -> str:
    """A whole corpus with the example of a domain as its entry, as YAML."""
    corpus = {"name": "example", "shards": 1, "domains": [example_entry(domain)]}
    return yaml.safe_dump(corpus, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100)


def example_entry(domain: Domain[Any]) -> dict[str, Any]:
    """The example of a domain as an entry, named after the domain."""
    return {"domain": domain.name, "name": domain.name.replace(".", "-"), **domain.example}


def _describe_field(name: str, field: FieldInfo) -> FieldDescription:
    default = field.get_default(call_default_factory=True, validated_data={})
    text = None if default is PydanticUndefined else json.dumps(to_jsonable_python(default), ensure_ascii=False)
    return FieldDescription(name, type_name(field.annotation), text, " ".join((field.description or "").split()))


def type_name(annotation: Any) -> str:
    """A type in YAML's terms: lists in square brackets, mappings in braces, choices with bars."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(arguments[0])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (Union, UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin in (tuple, list):
        return f"[{', '.join('…' if argument is ... else type_name(argument) for argument in arguments)}]"
    if origin is dict:
        return f"{{{type_name(arguments[0])}: {type_name(arguments[1])}}}"
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        fields = annotation.model_fields.items()
        return f"{{{', '.join(f'{name}: {type_name(field.annotation)}' for name, field in fields)}}}"
    return "null" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))
