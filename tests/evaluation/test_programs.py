"""Programs of responses, from the official files to the numbers: what is right counts, and nothing else does harm.

The sandbox isolates in one way for root and in another for others; both are tried, whoever runs the tests.
"""

import io
import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from step3vl.data.errors import UserError
from step3vl.evaluation import code_tests
from step3vl.evaluation.benchmarks import humaneval_v
from step3vl.evaluation.benchmarks.humaneval_v import BENCHMARK as HUMANEVAL_V
from step3vl.evaluation.benchmarks.livecodebench import BENCHMARK as LIVECODEBENCH
from step3vl.evaluation.item import Score, Scored
from step3vl.evaluation.sandbox import require_sandbox

pytestmark = [pytest.mark.slow]

NOBODY = "65534"
HARMS = {
    "correct": "",
    "wrong": "return -1",
    "infinite loop": "while True: pass",
    "memory bomb": "xs = [bytearray(1 << 31) for _ in range(9)]",
    "fork bomb": "import os\n    while True: os.fork()",
    "network": "import socket; socket.create_connection(('192.0.2.1', 80), 1)",
    "files": "open('/usr/harm', 'w').write('x')",
    "exit": "import os; os._exit(0)",
}
"""What a program does before it answers. All but the first are counted as wrong."""


@pytest.fixture(scope="module", autouse=True)
def isolated() -> None:
    try:
        require_sandbox()
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_tests, "SECONDS", 1.0)
    monkeypatch.setattr(humaneval_v, "run_check", partial(code_tests.run_check, seconds=1.0))


def solution(harm: str, signature: str, result: str) -> str:
    return f"So:\n```python\n{signature}\n    {harm or 'pass'}\n    return {result}\n```"


@pytest.fixture
def problem(tmp_path: Path):
    """The one problem of HumanEval-V, from a file as it is published."""
    diagram = io.BytesIO()
    Image.new("RGB", (8, 8)).save(diagram, "PNG")
    rows = {
        "qid": ["q1"],
        "diagram": [{"bytes": diagram.getvalue(), "path": None}],
        "function_signature": ["def solution(x: int) -> int:\n    '''Doubles.'''\n"],
        "test_script": ["assert solution(3) == 6\nassert solution(0) == 0"],
        "ground_truth_solution": ["def solution(x):\n    return 2 * x"],
        "task_type": ["doubling"],
    }
    pq.write_table(pa.table(rows), tmp_path / "test-00000-of-00001.parquet")
    (item,) = HUMANEVAL_V.items(tmp_path)
    return item


@pytest.mark.parametrize("name", HARMS)
def test_humaneval_v_counts_programs_that_pass(problem, name: str) -> None:
    score = HUMANEVAL_V.score(problem, solution(HARMS[name], "def solution(x: int) -> int:", "2 * x"))
    assert score.verdict == ("correct" if name == "correct" else "wrong"), score.trace


def test_humaneval_v_averages_over_six_responses(problem) -> None:
    values = (True, False, False, False, False, False)
    scored = [Scored(problem, Score.of(value, None), number) for number, value in enumerate(values)]
    assert HUMANEVAL_V.summarise(scored).values == {"pass@1": pytest.approx(100 / 6), "pass@3": pytest.approx(50)}
    assert HUMANEVAL_V.score(problem, "I do not know.").verdict == "unparsable"


def contest(function: str) -> dict:
    """A problem of LiveCodeBench: doubles a number, as a program or as a method."""
    cases = [{"input": "3", "output": "6", "testtype": "functional" if function else "stdin"}]
    return {
        "question_id": function or "stdin",
        "question_content": "Double it.",
        "contest_date": "2024-09-01T00:00:00",
        "difficulty": "easy",
        "starter_code": f"class Solution:\n    def {function}(self, x: int) -> int:\n" if function else "",
        "public_test_cases": json.dumps(cases),
        "private_test_cases": json.dumps([{**cases[0], "input": "-1", "output": "-2"}]),
        "metadata": json.dumps({"func_name": function} if function else {}),
    }


@pytest.mark.parametrize("name", ["correct", "wrong", "infinite loop", "files"])
def test_livecodebench_counts_programs_that_pass_all_tests(tmp_path: Path, name: str) -> None:
    (tmp_path / "test.jsonl").write_text("".join(f"{json.dumps(contest(kind))}\n" for kind in ("", "double")))
    program, method = LIVECODEBENCH.items(tmp_path)
    printed = solution(HARMS[name], "def main():", "print(2 * int(input()))").replace("```python\n", "```python\n", 1)
    printed = printed[: -len("```")] + "main()\n```"
    called = solution(HARMS[name], "def double(self, x):", "2 * x").replace("\n", "\n    ")
    called = called.replace("```python\n    ", "```python\nclass Solution:\n    ").replace("\n    ```", "\n```")
    scores = [LIVECODEBENCH.score(program, printed), LIVECODEBENCH.score(method, called)]
    expected = "correct" if name == "correct" else "wrong"
    assert [score.verdict for score in scores] == [expected] * 2, [score.trace for score in scores]


def as_nobody(python: str, program: str) -> "subprocess.CompletedProcess[str]":
    """Run a program as a user without rights."""
    become = f'exec {python} -B -c "$0"'  # by a shell, which has lost root's rights when it opens the interpreter
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "/bin/sh", "-c", become, program]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if os.access(path, os.R_OK)), "HOME": "/tmp"}
    return subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=120)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can become another user")
def test_users_without_rights_are_isolated_too() -> None:
    checks = """
from step3vl.data.errors import UserError
from step3vl.evaluation.sandbox import require_sandbox, run_python
try:
    require_sandbox()
except UserError as error:
    print("cannot:", error)
    raise SystemExit
done = run_python("import os; print(os.listdir('/tmp'), input(), os.path.exists('/etc/passwd'))", "text")
print(done.status, done.code, done.output.strip())
for harm in ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", "open('/usr/x', 'w')",
             "bytearray(1 << 34)", "while True: pass"):
    print(run_python(harm, seconds=1).code != 0)
"""
    interpreters = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")  # root's own may be closed to others
    python = next(
        (path for path in interpreters if as_nobody(path, "import step3vl.evaluation.sandbox").returncode == 0), ""
    )
    if not python:
        pytest.skip("no interpreter, or no sources, that other users can read")
    done = as_nobody(python, checks)
    assert done.returncode == 0, done.stderr
    if done.stdout.startswith("cannot:"):
        pytest.skip(done.stdout.strip())
    assert done.stdout.splitlines() == ["exited 0 [] text False", *["True"] * 4]
