"""The model as Hugging Face classes: configuration, vision tower, decoder, processor, checkpoints.

Importing this package registers the classes, so that the `Auto…` classes read a checkpoint without remote code.
"""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)

from step3vl.model.checkpoint import load_model, save_checkpoint
from step3vl.model.configuration import Step3VLConfig, Step3VLVisionConfig, config_10b, tiny_config
from step3vl.model.image_processing import Step3VLImageProcessor
from step3vl.model.modeling import Step3VLForConditionalGeneration, Step3VLOutput
from step3vl.model.pretrained import tower_of
from step3vl.model.processing import Step3VLProcessor
from step3vl.model.remote import write_remote_code

__all__ = [
    "Step3VLConfig",
    "Step3VLForConditionalGeneration",
    "Step3VLImageProcessor",
    "Step3VLOutput",
    "Step3VLProcessor",
    "Step3VLVisionConfig",
    "config_10b",
    "load_model",
    "save_checkpoint",
    "tiny_config",
    "tower_of",
    "write_remote_code",
]

AutoConfig.register(Step3VLConfig.model_type, Step3VLConfig)
AutoModelForCausalLM.register(Step3VLConfig, Step3VLForConditionalGeneration)
AutoModelForImageTextToText.register(Step3VLConfig, Step3VLForConditionalGeneration)
AutoImageProcessor.register(Step3VLConfig, Step3VLImageProcessor)
AutoProcessor.register(Step3VLConfig, Step3VLProcessor)
