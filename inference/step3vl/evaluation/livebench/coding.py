"""LiveBench's tasks of coding, whose tests are LiveCodeBench's."""

import json
from collections.abc import Mapping
from typing import Any

from step3vl.data.errors import UserError
from step3vl.evaluation.code_tests import last_code_block, read_tests, run_tests
from step3vl.evaluation.item import Score


def score_code(fields: Mapping[str, Any], response: str) -> Score:
    """Run a response on its tests.

    A completion continues `partial_solution`, unless it repeats it.

    Raises:
        UserError: this machine cannot isolate programs, or the tests of the record cannot be read.
    """
    code = last_code_block(response)
    if code is None:
        return Score.unparsable("no code block")
    partial = fields.get("partial_solution") or ""
    program = code if partial.strip() in code else f"{partial}\n{code}"
    try:
        original = fields.get("original_json") or {}
        metadata = (json.loads(original) if isinstance(original, str) else original).get("metadata")
        tests = read_tests({**fields, "metadata": metadata})
    except (ValueError, TypeError) as error:
        raise UserError(f"livebench, tests of a task of coding: {error}; download the file again") from None
    outcome = run_tests(program, tests)
    return Score.of(outcome.passed, program, outcome.reason)
