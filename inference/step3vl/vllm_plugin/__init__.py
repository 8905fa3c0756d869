"""A vLLM plugin that cuts images as a checkpoint was trained, whatever its image sizes.

vLLM finds it by its entry point when this package is installed in the same environment; `pip install --no-deps` is
enough, since the plugin needs nothing that vLLM does not install. Without it vLLM serves checkpoints of the released
sizes only.
"""


def register() -> None:
    """Register the model; vLLM calls this in each of its processes."""
    from vllm import ModelRegistry

    ModelRegistry.register_model(
        "StepVLForConditionalGeneration", "step3vl.vllm_plugin.model:StepVLForConditionalGeneration"
    )
