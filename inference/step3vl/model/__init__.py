"""The model as Hugging Face classes: configuration, vision tower, decoder, processor, checkpoints.

Importing this package registers the classes, so that the `Auto…` classes read a checkpoint without remote code.
"""

from step3vl.data.optional import require

for _module in ("torch", "transformers", "safetensors"):
    require(_module, "inference")  # before the imports below need them

from transformers import (  # noqa: E402
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from step3vl.model.checkpoint import load_model, save_checkpoint  # noqa: E402
from step3vl.model.configuration import (  # noqa: E402
    Step3VLConfig,
    Step3VLVisionConfig,
    config_10b,
    tiny_config,
)
from step3vl.model.image_processing import Step3VLImageProcessor  # noqa: E402
from step3vl.model.modeling import Step3VLForConditionalGeneration, Step3VLOutput  # noqa: E402
from step3vl.model.pretrained import component_of  # noqa: E402
from step3vl.model.processing import Step3VLProcessor  # noqa: E402
from step3vl.model.remote import write_remote_code  # noqa: E402

__all__ = [
    "Step3VLConfig",
    "Step3VLForConditionalGeneration",
    "Step3VLImageProcessor",
    "Step3VLOutput",
    "Step3VLProcessor",
    "Step3VLVisionConfig",
    "component_of",
    "config_10b",
    "load_model",
    "save_checkpoint",
    "tiny_config",
    "write_remote_code",
]

AutoConfig.register(Step3VLConfig.model_type, Step3VLConfig)
AutoModelForCausalLM.register(Step3VLConfig, Step3VLForConditionalGeneration)
AutoModelForImageTextToText.register(Step3VLConfig, Step3VLForConditionalGeneration)
AutoImageProcessor.register(Step3VLConfig, Step3VLImageProcessor)
AutoProcessor.register(Step3VLConfig, Step3VLProcessor)
