"""The JSON Schema of a sample's row, generated from the types: the contract for whoever writes samples elsewhere."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from step3vl.data.sample import SAMPLE_VERSION, Sample

DIALECT = GenerateJsonSchema.schema_dialect


def sample_schema() -> dict[str, Any]:
    """The schema of `KEY.json` in a shard. What no schema can say, such as who may speak when, `Sample` says."""
    schema = Sample.model_json_schema(mode="serialization")
    return {"$schema": DIALECT, "$id": f"step3vl-sample-{SAMPLE_VERSION}", **schema}


def schema_text() -> str:
    """The schema as the file in the repository has it."""
    return json.dumps(sample_schema(), indent=2, ensure_ascii=False) + "\n"
