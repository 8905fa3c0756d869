"""Pictures to pixel tensors: one squashed global view and local crops, as the released processor makes them.

The arithmetic of sizes is `step3vl.data.crops`, decoding is `step3vl.data.pictures`; here are only the pixels.
Resampling is done twice on purpose: PIL on bytes for the canvas, then an antialiased one on the normalised float
tensor, because the weights were trained on that.

Every operation on a pixel is the released one, in its order, so the tensors are equal bit for bit. What makes it fast
is where the bytes lie: one channel at a time, so that copies are contiguous and a plane stays in cache, and results
written where they belong.
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

from step3vl.data.crops import CropPlan, ImageSpec, PictureError
from step3vl.data.pictures import open_picture, plan_picture, to_rgb

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def cut(picture: Image.Image, plan: CropPlan) -> tuple[Image.Image, Image.Image]:
    """The picture that the global view is made from, and the canvas that the plan's crops lie on."""
    if plan.padded is not None:
        square = Image.new("RGB", (plan.padded, plan.padded))
        square.paste(picture, (0, 0))
        picture = square
    whole = _resized(picture, plan.resized)
    # The released code asks whether the canvas equals the picture before the cap on its long side. With the released
    # sizes a capped picture never snaps back to its old size on both axes, so the outcome is the same.
    return whole, _resized(whole, plan.canvas)


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)


def _planes(picture: Image.Image) -> list[Tensor]:
    """The three channels of an RGB picture, each uint8 [H, W] and contiguous."""
    return [torch.from_numpy(np.array(band)) for band in picture.split()]


def _normalise(plane: Tensor, channel: int) -> Tensor:
    """0..255 to what the tower was trained on, in place; the three steps round as the released code's do."""
    return plane.div_(255).sub_(MEAN[channel]).div_(STD[channel])


def _squash(values: Tensor, side: int) -> Tensor:
    """[C, H, W] resampled to [C, side, side]."""
    return F.interpolate(values[None], (side, side), mode="bilinear", align_corners=False, antialias=True)[0]


def write_view(planes: Sequence[Tensor], view: Tensor) -> None:
    """Normalise a picture and squash it into `view` [3, S, S]."""
    if planes[0].shape == view.shape[1:]:
        for channel, plane in enumerate(planes):
            _normalise(view[channel].copy_(plane), channel)
        return
    values = fresh(*planes[0].shape)
    for channel, plane in enumerate(planes):
        view[channel] = _squash(_normalise(values.copy_(plane), channel)[None], view.shape[-1])[0]


def write_crops(planes: Sequence[Tensor], plan: CropPlan, crops: Tensor) -> None:
    """Cut the plan's crops from the canvas into `crops` [n, 3, C, C]; beyond the canvas they are black."""
    side = crops.shape[-1]
    for (left, top, right, bottom), crop in zip(plan.boxes, crops, strict=True):
        values = crop if plan.window == side else torch.empty(3, plan.window, plan.window)
        for channel, plane in enumerate(planes):
            piece = plane[top:bottom, left:right]
            height, width = piece.shape
            if piece.shape != values.shape[1:]:
                values[channel] = 0
            values[channel, :height, :width] = piece
            _normalise(values[channel], channel)
        if plan.window != side:
            crop.copy_(_squash(values, side))


def fresh(*shape: int) -> Tensor:
    """Memory for float32 values. numpy asks for huge pages where it is large, which halves the time to fill it."""
    return torch.from_numpy(np.empty(shape, np.float32))


class Step3VLImageProcessor(BaseImageProcessor):
    """Called with pictures; returns float32 and integer tensors in the order of the pictures:

    pixel_values [n, 3, S, S], patch_pixel_values [crops, 3, C, C], num_patches [n], patch_newline_mask [crops].

    A picture is whatever `step3vl.data.pictures.open_picture` takes, or a tensor [C, H, W] (or [H, W], [H, W, C]) with
    the values of such an array; arrays and tensors of one more axis are several pictures. The parameters are those of
    `ImageSpec`, sizes and limits. Raises PictureError, a ValueError, for a picture that is damaged or beyond a limit;
    limits are checked on the header, before the pixels are decoded.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "patch_pixel_values", "num_patches"]

    def __init__(
        self,
        image_size: int = 728,
        crop_size: int = 504,
        patch_size: int = 14,
        max_side: int = 3024,
        max_crops: int = 100,
        max_pixels: int = 1 << 26,
        max_tokens: int = 1 << 14,
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

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(**{name: getattr(self, name) for name in ImageSpec.model_fields})

    @classmethod
    def get_image_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> tuple[dict, dict]:
        """As in the base class; the released repository has no file of sizes and gets the released ones."""
        try:
            return super().get_image_processor_dict(pretrained_model_name_or_path, **kwargs)
        except OSError:
            config, kwargs = PreTrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
            released = ImageSpec()
            if (config.get("image_token_len"), config.get("patch_token_len")) != (
                released.image_tokens,
                released.crop_tokens,
            ):
                raise  # another size, and the file that tells it is lost
            return {}, kwargs

    def fetch_images(self, image_url_or_urls: Any) -> Any:
        """Open what is given, keeping the nesting of lists; nothing is fetched by URL, nothing decoded."""
        source = image_url_or_urls
        if isinstance(source, list | tuple) or (isinstance(source, np.ndarray | Tensor) and source.ndim > 3):
            return [self.fetch_images(one) for one in source]
        if isinstance(source, Tensor):
            source = source.numpy(force=True)
            if source.ndim == 3 and source.shape[0] in (1, 3, 4):
                source = source.transpose(1, 2, 0)  # of tensors the first axis is the channels'
        return open_picture(source)

    def preprocess(
        self, images: Image.Image | Sequence[Any], return_tensors: str | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """One picture, a list, or a list of lists, in prompt order."""
        spec = self.spec
        pictures = make_flat_list_of_images(self.fetch_images(images))
        plans = [self._plan(number, pictures, spec) for number in range(len(pictures))]
        counts = [len(plan.boxes) for plan in plans]
        views = fresh(len(pictures), 3, spec.image_size, spec.image_size)
        crops = fresh(sum(counts), 3, spec.crop_size, spec.crop_size)
        for picture, plan, view, own in zip(pictures, plans, views, crops.split(counts), strict=True):
            whole, canvas = cut(to_rgb(picture), plan)
            planes = _planes(whole)
            write_view(planes, view)
            if plan.boxes:
                write_crops(planes if canvas is whole else _planes(canvas), plan, own)
        data = {
            "pixel_values": views,
            "patch_pixel_values": crops,
            "num_patches": torch.tensor(counts, dtype=torch.long),
            "patch_newline_mask": torch.tensor([end for plan in plans for end in plan.newlines], dtype=torch.bool),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    @staticmethod
    def _plan(number: int, pictures: Sequence[Image.Image], spec: ImageSpec) -> CropPlan:
        try:
            return plan_picture(pictures[number], spec)
        except PictureError as error:
            if len(pictures) == 1:
                raise
            raise PictureError(f"picture {number + 1} of {len(pictures)}: {error}") from None
