"""Programs of responses against tests, as LiveCodeBench and HumanEval have them; every program runs in the sandbox.

A program never sees what a test expects: outputs are compared outside of the sandbox.
"""

import base64
import json
import pickle
import secrets
import zlib
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import Any, NamedTuple

from step3vl.evaluation.sandbox import Execution, run_python

SECONDS = 6.0
"""For each test, as LiveCodeBench has it."""

# What LiveCodeBench puts before every program: solutions are written as if these were imported.
PRELUDE = """import sys
sys.setrecursionlimit(50000)
import string, re, datetime, collections, heapq, bisect, copy, math, random, statistics, itertools, functools, operator
import io, json, time
from string import *
from re import *
from datetime import *
from collections import *
from heapq import *
from bisect import *
from copy import *
from math import *
from random import *
from statistics import *
from itertools import *
from functools import *
from operator import *
from io import *
from sys import *
from typing import *
"""
_CALL = """
import json as _json, sys as _sys
_arguments = [_json.loads(_line) for _line in _sys.stdin.read().split("\\n") if _line]
_function = getattr(Solution(), {name!r}) if "Solution" in globals() else globals()[{name!r}]
_result = _function(*_arguments)
_sys.stdout.write("\\n" + {mark!r} + _json.dumps(list(_result) if isinstance(_result, tuple) else _result) + "\\n")
"""


class Test(NamedTuple):
    """A test of a program.

    Args:
        input: What it reads; of a function, its arguments as lines of JSON.
        output: What it must print; of a function, its result as JSON.
        function: The name of the function that is called; empty where the program reads and prints.
    """

    input: str
    output: str
    function: str = ""


class Outcome(NamedTuple):
    """Whether a program passed its tests, and why not."""

    passed: bool
    reason: str


def last_code_block(response: str) -> str | None:
    """What stands between the last two lines with three backticks; None without a pair."""
    lines = response.split("\n")
    fences = [index for index, line in enumerate(lines) if "```" in line]
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]) if len(fences) > 1 else None


def run_tests(program: str, tests: Iterable[Test]) -> Outcome:
    """Run a program on tests until one fails.

    Raises:
        UserError: this machine cannot isolate programs.
    """
    number = 0
    for number, test in enumerate(tests, 1):
        if reason := _failure(program, test):
            return Outcome(False, f"test {number}: {reason}")
    return Outcome(number > 0, f"{number} tests passed" if number else "no tests")


def _failure(program: str, test: Test) -> str:
    if not test.function:
        execution = run_python(PRELUDE + program, test.input, SECONDS)
        return _ending(execution) or ("" if same_output(execution.output, test.output) else "wrong output")
    mark = secrets.token_hex(8)
    call = _CALL.format(name=test.function, mark=mark)
    execution = run_python(f"{PRELUDE}{program}\n{call}", test.input, SECONDS)
    if ending := _ending(execution):
        return ending
    result = execution.output.rpartition(mark)[2]
    try:
        equal = bool(result) and json.loads(result) == json.loads(test.output)
    except (ValueError, RecursionError):
        equal = False
    return "" if equal else "wrong result"


def run_check(program: str, seconds: float = 10.0) -> Outcome:
    """Run a program that raises where it is wrong (HumanEval); it must come to its end.

    Raises:
        UserError: this machine cannot isolate programs.
    """
    mark = secrets.token_hex(8)
    execution = run_python(f"{program}\nprint({mark!r})\n", "", seconds)
    finished = execution.output.rstrip().endswith(mark)
    return Outcome(finished, "passed" if finished else _ending(execution) or "stopped before its end")


def _ending(execution: Execution) -> str:
    if execution.status == "timeout" or execution.code in (-9, -24, 137, 152):
        return "too long"
    if execution.code:
        return execution.errors.strip().split("\n")[-1][:200] or f"exit status {execution.code}"
    return ""


def same_output(output: str, expected: str) -> bool:
    """Whether two outputs have the same lines, outer spaces aside; lines of numbers are compared as numbers."""
    lines, true_lines = (text.strip().split("\n") for text in (output, expected))
    return len(lines) == len(true_lines) and all(
        line.strip() == true.strip() or _same_numbers(line, true) for line, true in zip(lines, true_lines, strict=True)
    )


def _same_numbers(line: str, true: str) -> bool:
    try:
        numbers, true_numbers = ([Decimal(word) for word in text.split()] for text in (line, true))
    except InvalidOperation:
        return False
    return bool(numbers) and numbers == true_numbers


def read_tests(record: Mapping[str, Any]) -> list[Test]:
    """The public and the private tests of a record of LiveCodeBench.

    Args:
        record: With `public_test_cases`, `private_test_cases` and, for functions, `metadata`.

    Raises:
        ValueError: the tests cannot be read.
    """
    metadata = _decoded(record.get("metadata") or {})
    cases = _decoded(record.get("public_test_cases") or []) + _decoded(record.get("private_test_cases") or [])
    name = metadata.get("func_name", "") if isinstance(metadata, dict) else ""
    return [
        Test(case["input"], case["output"], name if case.get("testtype") == "functional" else "") for case in cases
    ]


def _decoded(value: Any) -> Any:
    """A field as a value, as JSON, or as base64 of a compressed pickle of JSON, as the private tests are."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return json.loads(_TextUnpickler(BytesIO(zlib.decompress(base64.b64decode(value)))).load())


class _TextUnpickler(pickle.Unpickler):
    """Reads a pickled text, and nothing that would have to be imported."""

    def find_class(self, module: str, name: str) -> Any:
        raise ValueError(f"the tests hold {module}.{name}; only texts are read")
