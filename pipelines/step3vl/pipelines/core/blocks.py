"""The block of a sample: its JSON row, a newline, and the bytes of its images, so that one read gives all of it.

An image that an earlier step staged, or that lies in an input file, stays where it is and is pointed to.
"""

import json
from typing import Any, NamedTuple

from step3vl.data.errors import InfrastructureError
from step3vl.data.sample import Image, Pointer, Sample
from step3vl.pipelines.core.pointers import absolute, relative


class Block(NamedTuple):
    """A packed sample."""

    row: str
    """`Sample.to_row` as compact JSON on one line. The path of an image in the block is empty, and its offset counts
    from the byte after the newline."""
    data: bytes
    """The row, the newline and the images."""


def pack_sample(sample: Sample, root: str) -> Block:
    """The block of a sample.

    Args:
        sample: Its images hold bytes, or absolute pointers.
        root: URL of the folder that pointers are made relative to.

    Raises:
        ValueError: A text of the sample is not Unicode, as lone surrogates are.
    """
    images: list[Image] = []
    encoded: list[bytes] = []
    offset = 0
    for image in sample.images:
        if image.data is None:
            images.append(relative(image, root))
        else:
            images.append(image.stored_at(Pointer(path="", offset=offset, size=len(image.data))))
            encoded.append(image.data)
            offset += len(image.data)
    row = dump_row(sample.model_copy(update={"images": tuple(images)}).to_row())
    return Block(row, b"".join((row.encode(), b"\n", *encoded)))


def dump_row(row: dict[str, Any]) -> str:
    """A row as compact JSON, in an order that does not depend on how it was made."""
    return json.dumps(row, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def unpack_sample(block: bytes, root: str) -> Sample:
    """The sample of a block: images of the block hold their bytes, others absolute pointers.

    Args:
        block: What `pack_sample` made.
        root: URL of the folder that its pointers are relative to.

    Raises:
        InfrastructureError: The block is damaged.
    """
    end = block.find(b"\n")
    try:
        sample = Sample.from_row(json.loads(block[:end]))
    except ValueError as error:
        raise InfrastructureError(f"a staged sample is damaged: {error}") from error
    images = []
    for image in sample.images:
        if image.at is not None and not image.at.path:
            first = end + 1 + image.at.offset
            images.append(image.model_copy(update={"at": None, "data": block[first : first + image.at.size]}))
        else:
            images.append(absolute(image, root))
    return sample.model_copy(update={"images": tuple(images)})
