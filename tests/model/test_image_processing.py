"""Pixels: the published sizes, and an independent implementation of the same steps."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from step3vl.data.sample import ImageError, ImageSpec, plan_crops
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
def test_published_examples_have_the_published_shapes(width, height, crops, tokens) -> None:
    processor = Step3VLImageProcessor()
    output = processor(Image.new("RGB", (width, height), (90, 120, 30)))
    assert output["pixel_values"].shape == (1, 3, 728, 728)
    assert output["patch_pixel_values"].shape == (crops, 3, 504, 504)
    assert output["num_patches"].tolist() == [crops]
    newlines = int(output["patch_newline_mask"].sum())
    assert 83 * crops + newlines + 171 == tokens


def test_seven_by_three_pixels_give_three_crops() -> None:
    assert Step3VLImageProcessor()(Image.new("RGB", (7, 3)))["num_patches"].tolist() == [3]


def normalised(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(((values / 255 - np.array(MEAN)) / np.array(STD)).astype(np.float32)).permute(2, 0, 1)


def test_an_image_of_the_target_size_is_not_resampled(noise) -> None:
    image = noise(728, 728)
    pixels = Step3VLImageProcessor()(image)["pixel_values"][0]
    assert torch.allclose(pixels, normalised(np.asarray(image)), atol=1e-6)


def test_crops_are_windows_of_the_canvas(noise) -> None:
    """1008 x 1512 is exactly two windows by three: the crops are parts of the image itself, row by row."""
    image = noise(1008, 1512)
    output = Step3VLImageProcessor()(image)
    values = normalised(np.asarray(image))
    expected = [values[:, y : y + 504, x : x + 504] for y in (0, 504, 1008) for x in (0, 504)]
    assert torch.allclose(output["patch_pixel_values"], torch.stack(expected), atol=1e-6)
    assert output["patch_newline_mask"].tolist() == [False, True, False, True, False, False]


def test_crops_are_black_beyond_the_canvas() -> None:
    """1000 x 400 is lower than its window: the last 104 of 504 rows are empty."""
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


def literal(image: Image.Image, spec: ImageSpec) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The released steps, one after the other on complete images: the view and the crops."""

    def resize(source: Image.Image, size: tuple[int, int]) -> Image.Image:
        return source.resize(size, Image.Resampling.BILINEAR)

    def tensor(source: Image.Image, side: int) -> torch.Tensor:
        values = torch.from_numpy(np.array(source)).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        values = values.sub(mean).div(std)
        if values.shape[1:] == (side, side):
            return values
        return F.interpolate(values[None], (side, side), mode="bilinear", align_corners=False, antialias=True)[0]

    plan = plan_crops(*image.size, spec)
    if plan.padded:
        square = Image.new("RGB", (plan.padded, plan.padded), (0, 0, 0))
        square.paste(image, (0, 0))
        image = square
    image = resize(image, plan.resized)
    canvas = resize(image, plan.canvas)
    return tensor(image, spec.image_size), [tensor(canvas.crop(box), spec.crop_size) for box in plan.boxes]


@pytest.mark.parametrize(
    ("width", "height"),
    [(500, 400), (728, 728), (728, 485), (300, 100), (1280, 720), (1000, 400), (400, 1000), (3100, 700), (200, 31)],
)
def test_pixels_equal_the_literal_steps_exactly(noise, width, height) -> None:
    image = noise(width, height)
    output = Step3VLImageProcessor()(image)
    view, crops = literal(image, ImageSpec())
    assert torch.equal(output["pixel_values"][0], view)
    assert len(output["patch_pixel_values"]) == len(crops)
    for ours, theirs in zip(output["patch_pixel_values"], crops, strict=True):
        assert torch.equal(ours, theirs)


@settings(max_examples=25)
@given(width=st.integers(1, 500), height=st.integers(1, 500))
def test_small_sizes_equal_the_literal_steps_exactly(noise, width, height) -> None:
    spec = ImageSpec(image_size=56, crop_size=42, patch_size=7, max_side=224, max_crops=300)
    image = noise(width, height)
    try:
        plan_crops(width, height, spec)
    except ImageError:
        return
    output = Step3VLImageProcessor(**spec.model_dump())(image)
    view, crops = literal(image, spec)
    assert torch.equal(output["pixel_values"][0], view)
    assert all(map(torch.equal, output["patch_pixel_values"], crops))


def test_the_order_of_the_steps_matters(noise) -> None:
    """Resampling bytes and normalising afterwards differs by a rounding of 1/255: the test above detects it."""
    image = noise(500, 400)
    early = normalised(np.asarray(image.resize((728, 728), Image.Resampling.BILINEAR)))
    assert (early - literal(image, ImageSpec())[0]).abs().max() > 1e-3


SMALL = {"image_size": 56, "crop_size": 42, "patch_size": 7, "max_side": 224}


def test_orientation_and_transparency_are_applied_first() -> None:
    image = Image.new("RGBA", (60, 30), (10, 200, 30, 0))
    exif = image.getexif()
    exif[0x0112] = 6
    image.info["exif"] = exif.tobytes()
    processor = Step3VLImageProcessor(**SMALL)
    upright = Image.new("RGB", (30, 60), (255, 255, 255))
    for name in ("pixel_values", "patch_pixel_values"):
        assert torch.equal(processor(image)[name], processor(upright)[name])


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 128), None])
def test_the_background_is_saved_with_the_processor(background, tmp_path) -> None:
    processor = Step3VLImageProcessor(**SMALL, background=background)
    processor.save_pretrained(tmp_path)
    loaded = Step3VLImageProcessor.from_pretrained(tmp_path)
    assert loaded.spec == processor.spec
    assert loaded.spec.background == background
    clear = Image.new("RGBA", (60, 30), (10, 200, 30, 0))
    seen = Image.new("RGB", (60, 30), background or (10, 200, 30))
    for name in ("pixel_values", "patch_pixel_values"):
        assert torch.equal(loaded(clear)[name], processor(seen)[name])


def test_every_source_of_an_image_gives_the_same_pixels(noise, tmp_path) -> None:
    image = noise(90, 50)
    file = tmp_path / "a.png"
    image.save(file)
    array = np.asarray(image)
    processor = Step3VLImageProcessor(**SMALL)
    expected = processor(image)["patch_pixel_values"]
    assert len(expected) > 1
    tensor = torch.from_numpy(array.copy())
    for source in (file, str(file), file.read_bytes(), array, tensor, tensor.permute(2, 0, 1), tensor.float() / 255):
        assert torch.equal(processor(source)["patch_pixel_values"], expected)


def test_batches_and_nested_lists_of_images(noise) -> None:
    images = [noise(90, 50, seed) for seed in range(3)]
    processor = Step3VLImageProcessor(**SMALL)
    expected = processor(images)
    batch = np.stack([np.asarray(item) for item in images])
    for source in (batch, torch.from_numpy(batch), [images[:1], [], images[1:]]):
        output = processor(source)
        assert all(torch.equal(output[name], expected[name]) for name in expected)
    separate = [processor(item) for item in images]
    for name in expected:
        assert torch.equal(expected[name], torch.cat([output[name] for output in separate]))


def test_tensors_have_channels_first_and_arrays_last() -> None:
    """[3, 60, 3] as a tensor is an image 3 pixels wide; as an array it is 3 pixels high."""
    values = np.zeros((3, 60, 3), np.uint8)
    processor = Step3VLImageProcessor(**SMALL)
    assert processor.fetch_images(torch.from_numpy(values)).size == (3, 60)
    assert processor.fetch_images(values).size == (60, 3)


def test_limit_errors_name_the_image(noise) -> None:
    images = [noise(40, 40), noise(100, 90)]
    with pytest.raises(ImageError, match=r"^image 2 of 2: an image of 100x90 pixels is more than max_pixels=8999: "):
        Step3VLImageProcessor(**SMALL, max_pixels=8999)(images)
    with pytest.raises(ImageError, match=r"^an image of 100x90 pixels becomes \d+ tokens, more than max_tokens=20"):
        Step3VLImageProcessor(**SMALL, max_tokens=20)(images[1])


def test_limits_are_saved_with_the_processor(tmp_path) -> None:
    Step3VLImageProcessor(**SMALL, max_crops=7, max_pixels=1000, max_tokens=99).save_pretrained(tmp_path)
    again = Step3VLImageProcessor.from_pretrained(tmp_path)
    assert again.spec == ImageSpec(**SMALL, max_crops=7, max_pixels=1000, max_tokens=99)


@settings(max_examples=25)
@given(width=st.integers(1, 400), height=st.integers(1, 400))
def test_tensors_agree_with_the_plan_for_any_size(width, height) -> None:
    spec = ImageSpec(**SMALL)
    try:
        plan = plan_crops(width, height, spec)
    except ValueError:
        with pytest.raises(ValueError, match="crops"):
            Step3VLImageProcessor(**spec.model_dump())(Image.new("RGB", (width, height)))
        return
    output = Step3VLImageProcessor(**spec.model_dump())(Image.new("RGB", (width, height)))
    assert output["patch_pixel_values"].shape == (len(plan.boxes), 3, 42, 42)
    assert output["patch_newline_mask"].tolist() == list(plan.newlines)
