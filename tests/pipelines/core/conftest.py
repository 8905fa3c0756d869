"""What tests of the core share: samples with an image, told apart by their numbers."""

from collections.abc import Callable

import pytest

from step3vl.data.sample import Sample, Source, TextTruth
from step3vl.pipelines.core.samples import compose, encode_jpeg
from step3vl.pipelines.render.style import plain


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    def make_sample(number: int, by: str = "tests", size: tuple[int, int] = (20, 20)) -> Sample:
        return compose(
            kind="conversation",
            domain="ocr",
            task="ocr.test",
            question="Read it.",
            answer=str(number),
            truth=TextTruth(text=str(number)),
            images=[encode_jpeg(plain(size, (number % 256, 0, 0)))],
            source=Source(uri=f"n/{number}", licence="CC0-1.0", collected_by=by),
        )

    return make_sample
