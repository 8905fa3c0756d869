"""Fields of a request that no model in this process reads: harmless ones are ignored, all others are refused.

What a client sets must change the answer or be refused, never dropped. The lists follow OpenAI's API and vLLM's
`entrypoints/openai/*/protocol.py`.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from step3vl.inference.server.errors import ApiError

# They label, route or schedule a request; the reply stays the same.
IGNORED = frozenset(
    {
        "user", "metadata", "store", "service_tier", "safety_identifier", "moderation", "prompt_cache_key",
        "prompt_cache_retention", "prompt_cache_options", "request_id", "session_id", "priority", "cache_salt",
        "stream_interval", "return_token_offsets", "return_mm_kwargs", "routed_experts_prompt_start",
    }
)  # fmt: skip

# Values that ask for nothing beyond what happens anyway. `None`, an empty string, list or object always do.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "add_special_tokens": (False,),
    "best_of": (1,),
    "continue_final_message": (False,),
    "echo": (False,),
    "function_call": ("auto", "none"),
    "include_reasoning": (True,),
    "include_stop_str_in_output": (False,),
    "length_penalty": (1,),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "return_prompt_text": (False,),
    "return_token_ids": (False,),
    "return_token_strs": (False,),
    "return_tokens_as_token_ids": (False,),
    "skip_special_tokens": (True,),
    "spaces_between_special_tokens": (True, False),
    "tool_choice": ("auto", "none"),
    "use_beam_search": (False,),
    "watermarking": (False,),
}
READ_IN_PART = frozenset({"tool_choice"})  # models read only the neutral values of these
STREAM_OPTIONS: Mapping[str, tuple[Any, ...]] = {
    "continuous_usage_stats": (False,),
    "include_obfuscation": (True, False),
    "include_usage": (True, False),
}


def refuse_unsupported(body: Mapping[str, Any], model: type[BaseModel]) -> None:
    """Check the fields of a body that its model does not read, and those that it reads only in part.

    Raises:
        ApiError: 400 that names the field.
    """
    for name, value in body.items():
        if name in IGNORED or (name in model.model_fields and name not in READ_IN_PART):
            continue
        if not _is_neutral(value, NEUTRAL.get(name, ())):
            raise ApiError(400, f"{name[:100]}: {_reason(name)}", param=name[:100], code="unsupported_field")
    options = body.get("stream_options")
    for name, value in options.items() if isinstance(options, Mapping) else ():
        if not _is_neutral(value, STREAM_OPTIONS.get(name, ())):
            path = f"stream_options.{name[:100]}"
            raise ApiError(400, f"{path}: is not supported by this model", param=path, code="unsupported_field")


def other_fields(body: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a body that its model does not read or reads only in part, for a server that may know them."""
    return {
        name: value
        for name, value in body.items()
        if value is not None
        and (name not in model.model_fields or (name in READ_IN_PART and value not in NEUTRAL[name]))
    }


def _is_neutral(value: Any, neutral: tuple[Any, ...]) -> bool:
    if value is None or value in ("", [], {}):
        return True
    return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in neutral)


def _reason(name: str) -> str:
    if name == "tool_choice":
        return "may be 'none' or 'auto'; the model cannot be forced to call a tool"
    if name == "response_format":
        return "may only be of type 'text'"
    return "is not supported by this model"
