"""Pictures to pixel tensors: one squashed global view and local crops, as the released processor makes them.

The arithmetic of sizes is `step3vl.data.crops`; here are only the pixels. Resampling is done twice on purpose: PIL on
bytes for the canvas, then an antialiased one on the normalised float tensor, because the weights were trained on that.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor
from transformers import BatchFeature
from transformers.image_processing_utils import BaseImageProcessor
from transformers.image_utils import make_flat_list_of_images

from step3vl.data.crops import CropPlan, ImageSpec, plan_crops

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(picture: Image.Image, side: int) -> Tensor:
    """An RGB picture, squashed to [3, side, side] float32."""
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float().div_(255)
    values.sub_(torch.tensor(MEAN)[:, None, None]).div_(torch.tensor(STD)[:, None, None])
    if values.shape[1:] == (side, side):
        return values
    return F.interpolate(values[None], (side, side), mode="bilinear", align_corners=False, antialias=True)[0]


def cut(picture: Image.Image, plan: CropPlan) -> tuple[Image.Image, list[Image.Image]]:
    """The picture that the global view is made from, and the crops of the plan (black beyond the canvas)."""
    if plan.padded is not None:
        square = Image.new("RGB", (plan.padded, plan.padded))
        square.paste(picture, (0, 0))
        picture = square
    whole = _resized(picture, plan.resized)
    # The released code asks whether the canvas equals the picture before the cap on its long side. A capped picture
    # never snaps back to its old size on both axes, so asking about the size after the cap has the same outcome.
    canvas = _resized(whole, plan.canvas)
    return whole, [canvas.crop(box) for box in plan.boxes]


def _resized(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.BILINEAR)


class Step3VLImageProcessor(BaseImageProcessor):
    """Called with pictures; returns float32 and integer tensors in the order of the pictures:

    pixel_values [n, 3, S, S], patch_pixel_values [crops, 3, C, C], num_patches [n], patch_newline_mask [crops].
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values", "patch_pixel_values", "num_patches"]

    def __init__(
        self,
        image_size: int = 728,
        crop_size: int = 504,
        patch_size: int = 14,
        max_side: int = 3024,
        max_crops: int = 100,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.crop_size = crop_size
        self.patch_size = patch_size
        self.max_side = max_side
        self.max_crops = max_crops

    @property
    def spec(self) -> ImageSpec:
        return ImageSpec(**{name: getattr(self, name) for name in ImageSpec.model_fields})

    def preprocess(
        self, images: Image.Image | Sequence[Any], return_tensors: str | None = "pt", **kwargs: Any
    ) -> BatchFeature:
        """One picture, a list, or a list of lists, in prompt order. Raises ValueError for one that cannot be cut."""
        spec = self.spec
        views: list[Tensor] = []
        crops: list[Tensor] = []
        counts: list[int] = []
        newlines: list[bool] = []
        for image in make_flat_list_of_images(self.fetch_images(images)):
            picture = upright(image)
            plan = plan_crops(*picture.size, spec)
            whole, parts = cut(picture, plan)
            views.append(pixels(whole, spec.image_size))
            crops.extend(pixels(part, spec.crop_size) for part in parts)
            counts.append(len(parts))
            newlines.extend(plan.newlines)
        data = {
            "pixel_values": torch.stack(views),
            "patch_pixel_values": torch.stack(crops) if crops else torch.zeros(0, 3, spec.crop_size, spec.crop_size),
            "num_patches": torch.tensor(counts, dtype=torch.long),
            "patch_newline_mask": torch.tensor(newlines, dtype=torch.bool),
        }
        return BatchFeature(data, tensor_type=return_tensors)


def upright(image: Any) -> Image.Image:
    """RGB and turned as its EXIF says. Arrays [H, W, 3] of bytes are taken as they are."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.asarray(image))
    return ImageOps.exif_transpose(picture).convert("RGB")
