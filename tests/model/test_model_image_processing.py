"""Pixels: the published sizes, and a plain second writing of the same steps."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from step3vl.data.crops import ImageSpec, plan_crops
from step3vl.model import Step3VLImageProcessor
from step3vl.model.image_processing import MEAN, STD

# Width, height, crops, tokens of the prompt: the examples that come with the released processor's rule.
EXAMPLES = [
    (500, 400, 0, 171),
    (728, 728, 0, 171),
    (729, 729, 4, 504),
    (728, 486, 0, 171),
    (728, 485, 2, 337),
    (300, 100, 3, 420),
    (100, 300, 3, 422),
    (1280, 720, 6, 670),
    (720, 1280, 6, 671),
    (1920, 1080, 8, 836),
    (2560, 1440, 15, 1418),
    (3024, 3024, 36, 3164),
    (4032, 3024, 30, 2665),
    (1000, 400, 2, 337),
    (6000, 400, 15, 1416),
    (200, 31, 0, 171),
]


@pytest.mark.parametrize(("width", "height", "crops", "tokens"), EXAMPLES)
def test_published_examples_give_tensors_of_the_published_shapes(width, height, crops, tokens) -> None:
    processor = Step3VLImageProcessor()
    output = processor(Image.new("RGB", (width, height), (90, 120, 30)))
    assert output["pixel_values"].shape == (1, 3, 728, 728)
    assert output["patch_pixel_values"].shape == (crops, 3, 504, 504)
    assert output["num_patches"].tolist() == [crops]
    newlines = int(output["patch_newline_mask"].sum())
    assert 83 * crops + newlines + 171 == tokens


def test_seven_by_three_is_cut_in_three() -> None:
    assert Step3VLImageProcessor()(Image.new("RGB", (7, 3)))["num_patches"].tolist() == [3]


def normalised(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((values / 255 - np.array(MEAN)) / np.array(STD)).astype(np.float32)).permute(2, 0, 1)


def test_at_equal_size_nothing_is_resampled(noise) -> None:
    picture = noise(728, 728)
    pixels = Step3VLImageProcessor()(picture)["pixel_values"][0]
    assert torch.allclose(pixels, normalised(np.asarray(picture)), atol=1e-6)


def test_crops_are_windows_of_the_canvas(noise) -> None:
    """1008 x 1512 is two windows by three already: the crops are pieces of the picture itself, row by row."""
    picture = noise(1008, 1512)
    output = Step3VLImageProcessor()(picture)
    values = normalised(np.asarray(picture))
    expected = [values[:, y : y + 504, x : x + 504] for y in (0, 504, 1008) for x in (0, 504)]
    assert torch.allclose(output["patch_pixel_values"], torch.stack(expected), atol=1e-6)
    assert output["patch_newline_mask"].tolist() == [False, True, False, True, False, False]


def test_beyond_the_canvas_a_crop_is_black() -> None:
    """1000 x 400 is lower than its window: the last 104 of 504 rows show nothing."""
    crop = Step3VLImageProcessor()(Image.new("RGB", (1000, 400), (255, 255, 255)))["patch_pixel_values"][0]
    black, white = normalised(np.zeros((1, 1, 3))), normalised(np.full((1, 1, 3), 255.0))
    assert torch.allclose(crop[:, 400:], black.expand(3, 104, 504), atol=1e-6)
    assert torch.allclose(crop[:, :400], white.expand(3, 400, 504), atol=1e-6)


def test_a_thin_strip_is_pasted_on_a_black_square() -> None:
    pixels = Step3VLImageProcessor()(Image.new("RGB", (200, 31), (255, 255, 255)))["pixel_values"][0]
    assert torch.allclose(pixels[:, -1, -1], normalised(np.zeros((1, 1, 3)))[:, 0, 0], atol=1e-6)
    assert torch.allclose(pixels[:, 0, 0], normalised(np.full((1, 1, 3), 255.0))[:, 0, 0], atol=1e-6)


def test_shrinking_is_antialiased(noise) -> None:
    """Averaging 7x7 pixels of noise leaves little of its spread; picking one pixel would leave all of it."""
    spec = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=448)
    processor = Step3VLImageProcessor(**spec.model_dump())
    pixels = processor(noise(392, 392))["pixel_values"]
    assert float(pixels.std(dim=(2, 3)).max()) < 0.35


def test_orientation_and_transparency_are_settled_first() -> None:
    picture = Image.new("RGBA", (60, 30), (10, 200, 30, 0))
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.info["exif"] = exif.tobytes()
    turned = Step3VLImageProcessor(image_size=56, crop_size=42, patch_size=7, max_side=224)
    upright = Image.new("RGB", (30, 60), (10, 200, 30))
    for name in ("pixel_values", "patch_pixel_values"):
        assert torch.equal(turned(picture)[name], turned(upright)[name])


@settings(max_examples=25, deadline=None)
@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_tensors_agree_with_the_plan_for_any_size(width, height) -> None:
    spec = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=224)
    try:
        plan = plan_crops(width, height, spec)
    except ValueError:
        with pytest.raises(ValueError, match="crops"):
            Step3VLImageProcessor(**spec.model_dump())(Image.new("RGB", (width, height)))
        return
    output = Step3VLImageProcessor(**spec.model_dump())(Image.new("RGB", (width, height)))
    assert output["patch_pixel_values"].shape == (len(plan.boxes), 3, 42, 42)
    assert output["patch_newline_mask"].tolist() == list(plan.newlines)
