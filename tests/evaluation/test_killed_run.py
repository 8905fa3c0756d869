"""A run that is killed at any moment loses at most what was being answered, and ends with the same table."""

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from step3vl.evaluation.runner import EvalConfig, run_benchmark
from step3vl.inference.client import Request, Sampling

CONCURRENCY, REPEATS = 3, 4
CONFIG = EvalConfig(concurrency=CONCURRENCY, repeats=REPEATS)
MODEL = {"name": "scripted"}
RESPONSES = 6 * REPEATS
KILLED = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
import conftest
from step3vl.evaluation import benchmarks
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.runner import run_benchmark
from test_killed_run import CONFIG, MODEL, solve
benchmarks.__path__ = [str(Path(sys.argv[1]) / "toy")]
class Dies(conftest.ScriptedBackend):
    def stream(self, request, sampling, n=1):
        if len(self.requests) == int(sys.argv[4]):
            os.kill(os.getpid(), 9)
        return super().stream(request, sampling, n)
work = run_benchmark(load_benchmark("toy-sums"), Path(sys.argv[2]), Dies(solve), Path(sys.argv[3]), CONFIG, MODEL)
asyncio.run(work)
"""


def solve(request: Request, sampling: Sampling) -> str:
    """Reasons, and is wrong now and then."""
    numbers = [int(word) for word in request.messages[-1].content[-1].text.split() if word.isdecimal()]
    return f"<think>hm</think>{sum(numbers) + (sampling.seed or 0) % 3 % 2}"


def without_times(path: Path) -> list[dict[str, object]]:
    return [{**json.loads(line), "seconds": 0} for line in (path / "items.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("answered", [1, 11, 23])
def test_a_killed_run_resumes_to_the_same_table(
    answered: int, toy, toy_data: Path, tmp_path: Path, ScriptedBackend
) -> None:
    data, folder, whole = toy_data / "toy-sums", tmp_path / "killed", tmp_path / "whole"
    arguments = [Path(__file__).parent, data, folder, answered]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    backend = ScriptedBackend(solve)
    resumed = asyncio.run(run_benchmark(toy, data, backend, folder, CONFIG, MODEL))
    undisturbed = asyncio.run(run_benchmark(toy, data, ScriptedBackend(solve), whole, CONFIG, MODEL))
    assert RESPONSES - answered <= len(backend.requests) <= RESPONSES - answered + CONCURRENCY
    assert {**resumed.metrics, "mean_seconds": 0} == {**undisturbed.metrics, "mean_seconds": 0}
    assert 0 < resumed.metrics["value"] < 100
    assert without_times(folder) == without_times(whole)
