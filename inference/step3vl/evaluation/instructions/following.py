"""Whether a response follows its instructions, strictly and loosely, as IFEval (arXiv 2311.07911) defines the two."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from step3vl.data.errors import UserError
from step3vl.evaluation.instructions.ifbench_checks import IFBENCH_CHECKS
from step3vl.evaluation.instructions.ifbench_formats import IFBENCH_FORMATS
from step3vl.evaluation.instructions.ifeval_checks import IFEVAL_CHECKS, Check

CHECKS: Mapping[str, Check] = {**IFEVAL_CHECKS, **IFBENCH_CHECKS, **IFBENCH_FORMATS}
"""Every check by the id of its instruction."""


class Followed(NamedTuple):
    """For each instruction of a prompt, whether the response follows it."""

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]


def follow(response: str, instructions: Sequence[str], arguments: Sequence[Mapping[str, Any]]) -> Followed:
    """Check a response.

    Strict: the response itself passes the check. Loose: it passes, or without its first line, its last, or both, or
    any of these without asterisks. An empty text follows nothing.

    Args:
        response: Any text.
        instructions: Ids of instructions, keys of `CHECKS`.
        arguments: For each instruction, what its check needs; `None` values are left out.

    Raises:
        UserError: there is no check of an id, or its arguments are others.
    """
    variants = [response, *_loose_variants(response)]
    strict, loose = [], []
    for instruction, values in zip(instructions, arguments, strict=True):
        if instruction not in CHECKS:
            raise UserError(f"instruction '{instruction}': no such check; is the file of another benchmark?")
        check = CHECKS[instruction]
        named = {name: value for name, value in values.items() if value is not None}
        try:
            passed = (bool(variant.strip()) and check(variant, **named) for variant in variants)
            strict.append(next(passed))
            loose.append(strict[-1] or any(passed))
        except TypeError as error:
            raise UserError(f"instruction '{instruction}': {error}; are the arguments those of the file?") from None
    return Followed(tuple(strict), tuple(loose))


def _loose_variants(response: str) -> list[str]:
    lines = response.split("\n")
    shorter = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [response.replace("*", ""), *shorter, *(text.replace("*", "") for text in shorter)]
