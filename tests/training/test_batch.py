"""Samples to tensors: packs do not leak between samples, and long documents are cut around their images."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from step3vl.data.dataset import Dataset
from step3vl.data.plan import cut
from step3vl.data.sample import Image, ImageSpec, Sample, Source, image, plan_crops, text
from step3vl.data.tokens import TokenIds, load_tokenizer
from step3vl.model import Step3VLForConditionalGeneration, Step3VLImageProcessor, tiny_config
from step3vl.training.batch import PreparedSample, collate, prepare_sample


def test_the_loss_of_a_pack_is_that_of_its_samples_alone(corpus: Path, image_spec: ImageSpec) -> None:
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    dataset = Dataset.open(corpus)
    index = dataset.index(["offset", "size"], split="train")
    rows = list(zip(*(index[name].to_pylist() for name in ("shard", "offset", "size")), strict=True))[:5]
    samples = [prepare_sample(dataset.read(*row), tokenizer, processor) for row in rows]
    assert any(sample.pixels for sample in samples)
    ids = TokenIds.of(tokenizer)
    torch.manual_seed(0)
    config = tiny_config(tokenizer.get_vocab_size(), image_spec, image_token_id=ids.image_patch, hidden_size=32)
    model = Step3VLForConditionalGeneration(config).eval()

    def loss_sum(pack: list[PreparedSample]) -> float:
        inputs, weight = collate([pack], ids.pad)
        with torch.no_grad():
            output = model(**inputs)
        assert float(output.loss_weight) == weight
        return float(output.loss) * weight

    assert loss_sum(samples) == pytest.approx(sum(loss_sum([sample]) for sample in samples), rel=1e-5)


@pytest.mark.parametrize("sequence_length", [40, 64])
def test_a_long_document_is_cut_around_its_images_and_loses_nothing(
    corpus: Path, image_spec: ImageSpec, sequence_length: int
) -> None:
    tokenizer, processor = load_tokenizer(corpus), Step3VLImageProcessor(**image_spec.model_dump())
    disc = Dataset.open(corpus).read(*next(rows_with_images(corpus))).images[0]
    parts = [part for number in range(6) for part in (text("A red disc. " * number), image(number))]
    document = Sample.make(
        domain="knowledge",
        task="knowledge.long",
        content=tuple(part for part in parts if part != text("")),
        images=(disc,) * 6,
        source=Source(uri="rendered:long", licence="CC0-1.0", collected_by="tests"),
    )
    uncut = prepare_sample(document, tokenizer, processor)
    largest = plan_crops(disc.width, disc.height, image_spec).tokens
    pieces = cut(len(uncut.ids), largest, sequence_length)
    prepared = [prepare_sample(document, tokenizer, processor, piece) for piece in pieces]
    assert len(prepared) > 2
    assert np.array_equal(np.concatenate([part.ids for part in prepared]), uncut.ids)
    assert sum(len(part.pixels.counts) for part in prepared if part.pixels) == 6
    ids = TokenIds.of(tokenizer)
    for part, piece in zip(prepared, pieces, strict=True):
        assert 0 < len(part.ids) <= piece.length <= sequence_length
        assert (part.ids == ids.image_end).sum() == (len(part.pixels.counts) if part.pixels else 0)


def test_transparent_images_have_the_background_of_the_processor(corpus: Path, image_spec: ImageSpec) -> None:
    """The same as the engine's: a model is trained on what it will read."""
    blue = Step3VLImageProcessor(**image_spec.model_copy(update={"background": (0, 0, 255)}).model_dump())
    file = io.BytesIO()
    PILImage.new("RGBA", (60, 30), (255, 255, 255, 0)).save(file, "PNG")
    document = Sample.make(
        domain="knowledge",
        task="knowledge.logo",
        content=(image(0), text("A logo.")),
        images=(Image.from_bytes(file.getvalue()),),
        source=Source(uri="rendered:logo", licence="CC0-1.0", collected_by="tests"),
    )
    pixels = prepare_sample(document, load_tokenizer(corpus), blue).pixels
    assert pixels is not None
    assert torch.equal(pixels.views, blue(PILImage.new("RGB", (60, 30), (0, 0, 255)))["pixel_values"])


def rows_with_images(corpus: Path) -> Iterator[tuple[int, int, int]]:
    table = Dataset.open(corpus).index(["offset", "size", "image_tokens"], split="train")
    columns = (table[name].to_pylist() for name in ("shard", "offset", "size", "image_tokens"))
    return ((shard, offset, size) for shard, offset, size, tokens in zip(*columns, strict=True) if tokens)
