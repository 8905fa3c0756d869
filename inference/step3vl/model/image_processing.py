"""Images to pixel tensors: a squashed global view and local crops, equal bit for bit to the released processor's.

Sizes are computed by `step3vl.data.sample.crops` and files are decoded by `step3vl.data.sample.images`; this module
handles pixels only. Resampling is done twice on purpose: by PIL on bytes for the canvas, then antialiased on the
normalised float tensor, because the weights were trained on that.

Every operation on a pixel is the released one, in its order. The speed comes from the memory layout: one channel at a
time, so that copies are contiguous and a plane stays in cache, and results are written in place.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, PreTrainedConfig
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import make_flat_list_of_images

from step3vl.data.sample.crops import WHITE, CropPlan, ImageError, ImageSpec
from step3vl.data.sample.images import open_image, plan_image, to_rgb

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def resize_for_plan(image: Image.Image, plan: CropPlan) -> tuple[Image.Image, Image.Image]:
    """Pad and resize an image.

    Returns:
        The image behind the global view, and the canvas that the plan's crops are cut from.
    """
    if plan.padded is not None:
        square = Image.new("RGB", (plan.padded, plan.padded))
        square.paste(image, (0, 0))
        image = square
    resized = _resize(image, plan.resized)
    # The released code compares the canvas with the image before the cap on its long side. With the released sizes a
    # capped image never snaps back to its old size on both axes, so the result is the same.
    return resized, _resize(resized, plan.canvas)


def _resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def _planes(image: Image.Image) -> list[Tensor]:
    """The three channels of an RGB image, each uint8 [H, W] and contiguous."""
    return [torch.from_numpy(np.array(band)) for band in image.split()]


def _normalise(plane: Tensor, channel: int) -> Tensor:
    """Normalise values in 0..255 in place; the three steps round as those of the released code do."""
    return plane.div_(255).sub_(MEAN[channel]).div_(STD[channel])


def _squash(values: Tensor, side: int) -> Tensor:
    """[C, H, W] resampled to [C, side, side]."""
    return F.interpolate(values[None], (side, side), mode="bilinear", align_corners=False, antialias=True)[0]


def write_view(planes: Sequence[Tensor], view: Tensor) -> None:
    """Normalise an image and squash it to a square.

    Args:
        planes: The three channels, each uint8 [H, W].
        view: float32 [3, S, S], written in place.
    """
    if planes[0].shape == view.shape[1:]:
        for channel, plane in enumerate(planes):
            _normalise(view[channel].copy_(plane), channel)
        return
    values = allocate(*planes[0].shape)
    for channel, plane in enumerate(planes):
        view[channel] = _squash(_normalise(values.copy_(plane), channel)[None], view.shape[-1])[0]


def write_crops(planes: Sequence[Tensor], plan: CropPlan, crops: Tensor) -> None:
    """Cut the crops of a plan from the canvas and normalise them; beyond the canvas they are black.

    Args:
        planes: The three channels of the canvas, each uint8 [H, W].
        plan: Has n boxes.
        crops: float32 [n, 3, C, C], written in place.
    """
    side = crops.shape[-1]
    for (left, top, right, bottom), crop in zip(plan.boxes, crops, strict=True):
        values = crop if plan.window == side else torch.empty(3, plan.window, plan.window)
        for channel, plane in enumerate(planes):
            window = plane[top:bottom, left:right]
            height, width = window.shape
            if window.shape != values.shape[1:]:
                values[channel] = 0
            values[channel, :height, :width] = window
            _normalise(values[channel], channel)
        if plan.window != side:
            crop.copy_(_squash(values, side))


def allocate(*shape: int) -> Tensor:
    """An uninitialised float32 tensor. numpy asks for huge pages if it is large, which halves the time to fill it."""
    return torch.from_numpy(np.empty(shape, np.float32))


class Step3VLImageProcessor(BaseImageProcessor):
    """Turns images into global views and crops.

    An image is whatever `step3vl.data.sample.open_image` accepts, or a tensor [C, H, W] (or [H, W], [H, W, C]) with
    the values of such an array; an array or tensor with another leading axis holds several images. Limits are checked
    on the header, before the pixels are decoded.

    Args:
        image_size: Side S of the global view in pixels.
        crop_size: Side C of a crop in pixels.
        patch_size: Side of a patch of the vision tower.
        max_side: A longer image is shrunk to this side before it is cut into crops.
        max_crops: Most crops of an image.
        max_pixels: Most pixels of an image.
        max_tokens: Most image tokens of an image.
        background: RGB colour behind transparent pixels; None drops alpha, as the released processor does.

    Returns:
        When called, a `BatchFeature` for n images with m crops in all: `pixel_values` (float32 [n, 3, S, S]),
        `patch_pixel_values` (float32 [m, 3, C, C]), `num_patches` (int64 [n]) and `patch_newline_mask` (bool [m],
        true for the last crop of each row of crops but the last row).

    Raises:
        ImageError: A ValueError, for a damaged image or one beyond a limit.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "patch_pixel_values", "num_patches"]
    background: Sequence[int] | None = WHITE  # transformers saves None only where the class has another default

    def __init__(
        self,
        image_size: int = 728,
        crop_size: int = 504,
        patch_size: int = 14,
        max_side: int = 3024,
        max_crops: int = 100,
        max_pixels: int = 1 << 26,
        max_tokens: int = 1 << 14,
        background: Sequence[int] | None = WHITE,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.crop_size = crop_size
        self.patch_size = patch_size
        self.max_side = max_side
        self.max_crops = max_crops
        self.max_pixels = max_pixels
        self.max_tokens = max_tokens
        self.background = None if background is None else tuple(background)

    @property
    def spec(self) -> ImageSpec:
        """The sizes and limits as the data package knows them."""
        return ImageSpec(**{name: getattr(self, name) for name in ImageSpec.model_fields})

    @classmethod
    def get_image_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> tuple[dict, dict]:
        """As in the base class; the released repository has no such file and gets the released sizes."""
        try:
            return super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
        except OSError:
            config, kwargs = PreTrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
            released = ImageSpec()
            if (config.get("image_token_len"), config.get("patch_token_len")) != (
                released.image_tokens,
                released.crop_tokens,
            ):
                raise  # of another size, and the file with the sizes is missing
            return {}, kwargs

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open images, keeping the nesting of lists; nothing is fetched by URL, and no pixels are decoded."""
        source = image_url_or_urls
        if isinstance(source, list | tuple) or (isinstance(source, np.ndarray | Tensor) and source.ndim > 3):
            return [self.fetch_images(item) for item in source]
        if isinstance(source, Tensor):
            source = source.numpy(force=True)
            if source.ndim == 3 and source.shape[0] in (1, 3, 4):
                source = source.transpose(1, 2, 0)  # tensors have channels first
        return open_image(source)

    def preprocess(
        self, images: Image.Image | Sequence[Any], return_tensors: str | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """Process one image, a list, or a list of lists, in prompt order."""
        spec = self.spec
        opened = make_flat_list_of_images(self.fetch_images(images))
        plans = [self._plan(index, opened, spec) for index in range(len(opened))]
        counts = [len(plan.boxes) for plan in plans]
        views = allocate(len(opened), 3, spec.image_size, spec.image_size)
        crops = allocate(sum(counts), 3, spec.crop_size, spec.crop_size)
        for image, plan, view, image_crops in zip(opened, plans, views, crops.split(counts), strict=True):
            resized, canvas = resize_for_plan(to_rgb(image, spec.background), plan)
            planes = _planes(resized)
            write_view(planes, view)
            if plan.boxes:
                write_crops(planes if canvas is resized else _planes(canvas), plan, image_crops)
        newlines = [newline for plan in plans for newline in plan.newlines]
        data = {
            "pixel_values": views,
            "patch_pixel_values": crops,
            "num_patches": torch.tensor(counts, dtype=torch.long),
            "patch_newline_mask": torch.tensor(newlines, dtype=torch.bool),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    @staticmethod
    def _plan(index: int, images: Sequence[Image.Image], spec: ImageSpec) -> CropPlan:
        try:
            return plan_image(images[index], spec)
        except ImageError as error:
            if len(images) == 1:
                raise
            raise ImageError(f"image {index + 1} of {len(images)}: {error}") from None
