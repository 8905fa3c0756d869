"""The Parquet index beside each shard: one row a sample, enough to plan and to read without opening the tar."""

from typing import Any

import pyarrow as pa

from step3vl.data.sample import Sample
from step3vl.data.tar import Entry

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # also the key in the tar
        pa.field("domain", pa.string(), nullable=False),
        pa.field("task", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # document or conversation
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),  # of the sample's first header
        pa.field("size", pa.int64(), nullable=False),  # headers and padding included
        pa.field("json_size", pa.int64(), nullable=False),
        pa.field("image_offsets", pa.list_(pa.int64()), nullable=False),  # of the encoded bytes
        pa.field("image_sizes", pa.list_(pa.int64()), nullable=False),
        pa.field("image_widths", pa.list_(pa.int32()), nullable=False),
        pa.field("image_heights", pa.list_(pa.int32()), nullable=False),
        pa.field("text_tokens", pa.int32(), nullable=False),
        pa.field("image_tokens", pa.int32(), nullable=False),
    ]
)


def index_row(sample: Sample, entry: Entry) -> dict[str, Any]:
    """The row of a sample that was written at `entry`. Its tokens must have been counted."""
    if sample.tokens is None:
        raise ValueError(f"sample {sample.id} ({sample.task}) reached the shard writer without a token count")
    meta, *pictures = entry.members
    return {
        "id": sample.id,
        "domain": sample.domain,
        "task": sample.task,
        "kind": sample.kind,
        "source": sample.source.uri,
        "licence": sample.source.licence,
        "offset": entry.offset,
        "size": entry.size,
        "json_size": meta.size,
        "image_offsets": [member.offset for member in pictures],
        "image_sizes": [member.size for member in pictures],
        "image_widths": [image.width for image in sample.images],
        "image_heights": [image.height for image in sample.images],
        "text_tokens": sample.tokens.text,
        "image_tokens": sample.tokens.image,
    }
