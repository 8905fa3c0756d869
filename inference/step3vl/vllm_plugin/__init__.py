"""A plugin of vLLM: it cuts pictures as a checkpoint was trained, whatever its sizes.

vLLM finds it by its entry point where this package lies in the same environment; `pip install --no-deps` suffices, for
it needs nothing that vLLM lacks. Without it vLLM serves checkpoints of the released sizes only.
"""


def register() -> None:
    """Called by vLLM in each of its processes."""
    from vllm import ModelRegistry

    ModelRegistry.register_model(
        "StepVLForConditionalGeneration", "step3vl.vllm_plugin.model:StepVLForConditionalGeneration"
    )
