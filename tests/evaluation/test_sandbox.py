"""The code of responses: isolated, limited, or not run at all."""

import json

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation import sandbox
from step3vl.evaluation.benchmarks.humaneval import BENCHMARK as HUMANEVAL
from step3vl.evaluation.code_tests import Test as CodeTest
from step3vl.evaluation.code_tests import last_code_block, read_tests, run_check, run_tests, same_output
from step3vl.evaluation.sandbox import Execution, require_sandbox, run_python


@pytest.fixture(scope="module")
def isolated():
    try:
        require_sandbox()
    except UserError as error:
        pytest.skip(str(error))


def test_a_machine_that_cannot_isolate_runs_nothing(monkeypatch):
    monkeypatch.setattr(sandbox, "_run", lambda *_: Execution("exited", 1, "", "unshare: Operation not permitted\n"))
    require_sandbox.cache_clear()
    with pytest.raises(UserError, match=r"cannot isolate the code of responses \(unshare: Operation not permitted\)"):
        run_python("print(1)")
    require_sandbox.cache_clear()


@pytest.mark.slow
def test_a_program_reads_prints_and_reaches_nothing(isolated, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("x")
    program = f"""
import os, shutil, socket
print(input()[::-1], os.path.exists({str(secret)!r}), os.path.exists("/etc/passwd"))
for harm in (lambda: socket.create_connection(("192.0.2.1", 80), 1), lambda: shutil.rmtree("/usr"),
             lambda: open("/program.py", "w"), lambda: open("/usr/new", "w")):
    try:
        harm()
        print("done")
    except (OSError, AttributeError):
        print("refused")
open("notes", "w").write("in a folder of its own")
"""
    execution = run_python(program, "abc")
    assert (execution.status, execution.code) == ("exited", 0), execution.errors
    assert execution.output.split("\n") == ["cba False False", *["refused"] * 4, ""]


@pytest.mark.slow
def test_time_memory_and_output_are_limited(isolated):
    assert run_python("while True: pass", seconds=0.5).code != 0
    assert "MemoryError" in run_python("bytearray(1 << 34)").errors
    assert len(run_python("while True: print('x' * 10000)", seconds=2).output) <= sandbox.DISK


@pytest.mark.slow
def test_programs_pass_tests_that_they_cannot_see(isolated):
    doubled = "class Solution:\n    def double(self, x):\n        return x * 2"
    assert run_tests(doubled, [CodeTest("3", "6", "double"), CodeTest("[1]", "[1, 1]", "double")]).passed
    assert run_tests(doubled, [CodeTest("3", "7", "double")]) == (False, "test 1: wrong result")
    assert run_tests("print(int(input()) + 1)", [CodeTest("1\n", "2\n")]).passed
    assert run_tests("raise SystemExit", [CodeTest("1", "2")]) == (False, "test 1: wrong output")
    assert not run_tests("print(1)", []).passed


@pytest.mark.slow
def test_a_check_must_come_to_its_end(isolated):
    assert run_check("assert 1 + 1 == 2").passed
    assert run_check("import sys\nsys.exit(0)\nassert False") == (False, "stopped before its end")
    assert not run_check("assert False").passed


@pytest.mark.slow
def test_humaneval(isolated, tmp_path):
    record = {
        "task_id": "HumanEval/0",
        "prompt": "from typing import List\n\n\ndef total(xs: List[int]) -> int:\n    'Sum.'\n",
        "entry_point": "total",
        "test": "def check(candidate):\n    assert candidate([1, 2]) == 3",
        "canonical_solution": "    return sum(xs)\n",
    }
    (tmp_path / "HumanEval.jsonl").write_text(json.dumps(record))
    (item,) = HUMANEVAL.items(tmp_path)
    assert HUMANEVAL.score(item, "```python\ndef total(xs: List[int]):\n    return sum(xs)\n```").value == 1
    assert HUMANEVAL.score(item, "    return sum(xs)", "official").value == 1
    assert HUMANEVAL.score(item, "    return sum(xs)").verdict == "unparsable"
    assert HUMANEVAL.score(item, "```python\ndef total(xs):\n    return 0\n```").verdict == "wrong"


def test_the_last_code_block_counts():
    assert last_code_block("```\na\n```\ntext\n```python\nb\nc\n```") == "b\nc"
    assert last_code_block("```\na") is None


def test_outputs_are_compared_by_lines_and_numbers():
    assert same_output("1 2.0\nyes \n", "1.0 2\nyes")
    assert not same_output("1\n2", "1 2")
    assert not same_output("yes", "no")


def test_private_tests_are_unpacked_without_importing_anything():
    import base64
    import pickle
    import zlib

    cases = json.dumps([{"input": "1", "output": "2", "testtype": "functional"}])
    packed = base64.b64encode(zlib.compress(pickle.dumps(cases))).decode()
    record = {"public_test_cases": "[]", "private_test_cases": packed, "metadata": '{"func_name": "f"}'}
    assert read_tests(record) == [CodeTest("1", "2", "f")]
    harmful = base64.b64encode(zlib.compress(pickle.dumps(print))).decode()
    with pytest.raises(ValueError, match="only texts are read"):
        read_tests({**record, "private_test_cases": harmful})
