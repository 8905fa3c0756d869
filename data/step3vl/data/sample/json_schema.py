"""The JSON Schema of a sample's row, generated from the types: the contract for writers outside this project."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from step3vl.data.sample.sample import SAMPLE_VERSION, Sample

DIALECT = GenerateJsonSchema.schema_dialect


def sample_schema() -> dict[str, Any]:
    """The JSON Schema of `KEY.json` in a shard. Rules that no schema can express are checked by `Sample` only."""
    schema = Sample.model_json_schema(mode="serialization")
    return {"$schema": DIALECT, "$id": f"step3vl-sample-{SAMPLE_VERSION}", **schema}


def schema_text() -> str:
    """The schema as the text of `data/sample.schema.json`."""
    return json.dumps(sample_schema(), indent=2, ensure_ascii=False) + "\n"
