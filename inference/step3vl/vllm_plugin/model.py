"""vLLM's implementation of this architecture, with the crop plan of `step3vl.data` and the sizes of the checkpoint.

vLLM's processor has the released sizes as constants. It also cuts an image whose long side is exactly 728 pixels into
four crops, where the released processor, and the training of the model, cut none.
"""

from functools import cached_property
from typing import Any

from PIL import Image
from vllm.model_executor.models.step3_vl import (
    Step3VLDummyInputsBuilder,
    Step3VLMultiModalProcessor,
    Step3VLProcessingInfo,
)
from vllm.model_executor.models.step_vl import StepVLForConditionalGeneration as VLLMModel
from vllm.multimodal import MULTIMODAL_REGISTRY
from vllm.multimodal.parse import ImageSize
from vllm.transformers_utils.config import get_hf_file_to_dict
from vllm.transformers_utils.processors.step3_vl import ImagePatcher, Step3VLImageProcessor

from step3vl.data.sample.crops import ImageSpec, plan_crops


class CropPlanPatcher(ImagePatcher):
    """Cuts images by `plan_crops`. An image beyond the limits is a 400 to the client; the reason is in vLLM's log.

    Args:
        spec: Sizes and limits of images.
    """

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.spec = spec

    def get_num_patches(self, img_width: int, img_height: int) -> tuple[int, int]:
        plan = plan_crops(img_width, img_height, self.spec)
        return len(plan.boxes), sum(plan.newlines)

    def __call__(self, img: Image.Image) -> tuple[Image.Image, list[Image.Image], list[bool]]:
        plan = plan_crops(*img.size, self.spec)
        if plan.padded is not None:
            img = self.square_pad(img)
        resized = img.resize(plan.resized, Image.Resampling.BILINEAR)
        canvas = resized.resize(plan.canvas, Image.Resampling.BILINEAR)
        return resized, [canvas.crop(box) for box in plan.boxes], list(plan.newlines)


class CheckpointProcessingInfo(Step3VLProcessingInfo):
    """Sizes and limits of images from the checkpoint instead of constants."""

    @cached_property
    def spec(self) -> ImageSpec:
        """From the checkpoint's preprocessor_config.json; the released repository has none, and the released sizes."""
        model = self.ctx.model_config
        values = get_hf_file_to_dict("preprocessor_config.json", model.model, model.revision) or {}
        return ImageSpec(**{name: values[name] for name in ImageSpec.model_fields if name in values})

    def get_image_processor(self, **kwargs: Any) -> Step3VLImageProcessor:
        processor = Step3VLImageProcessor(
            image_size=self.spec.image_size,
            patch_size=self.spec.crop_size,
            num_image_feature_size=self.spec.image_tokens,
            num_patch_feature_size=self.spec.crop_tokens,
        )
        processor.patcher = CropPlanPatcher(self.spec)
        return processor

    def get_image_size_with_most_features(self) -> ImageSize:
        return ImageSize(self.spec.max_side, self.spec.max_side)


@MULTIMODAL_REGISTRY.register_processor(
    Step3VLMultiModalProcessor, info=CheckpointProcessingInfo, dummy_inputs=Step3VLDummyInputsBuilder
)
class StepVLForConditionalGeneration(VLLMModel):
    """vLLM's layers and weights; only image preparation differs."""
