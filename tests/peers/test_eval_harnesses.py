"""lmms-eval and VLMEvalKit run our engine, and PaCoRe over HTTP, on a few questions, and score the answers.

It needs `make eval-peers`, which makes their environment.
"""

import asyncio
import base64
import csv
import io
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image, ImageDraw
from tiny_model import write_tiny_model

from step3vl.inference.client import Delta, DeltaStream, Request, Sampling, Usage
from step3vl.inference.server import create_app

PYTHON = Path(os.environ.get("STEP3VL_EVAL_PEERS", Path(__file__).parents[2] / ".venv-eval-peers")) / "bin/python"
VLMEVALKIT = PYTHON.parents[1] / "VLMEvalKit" / "vlmeval"
SCRIPTS = Path(__file__).with_name("crosschecks")
WORDS = ("sea", "hill", "road", "sea")
CATEGORY = "Regular Text Recognition"
MAX_NEW_TOKENS = 8
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not PYTHON.exists(), reason="NOT PROVEN: no .venv-eval-peers; run `make eval-peers`"),
]


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Four questions of OCRBench's format, as both harnesses read them."""
    rows = []
    for number, word in enumerate(WORDS):
        image = Image.new("RGB", (64, 40), "white")
        ImageDraw.Draw(image).text((8, 12), word, "black")
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        rows.append({"index": number, "question": "What is written here?", "answer": [word], "png": buffer.getvalue()})
    features = {
        "image": {"_type": "Image"},
        "answer": {"_type": "List", "feature": {"dtype": "string", "_type": "Value"}},
        **{name: {"dtype": "string", "_type": "Value"} for name in ("question", "question_type", "dataset")},
    }
    columns = {
        "image": [{"bytes": row["png"], "path": None} for row in rows],
        "answer": [row["answer"] for row in rows],
        "question": [row["question"] for row in rows],
        "question_type": [CATEGORY] * len(rows),
        "dataset": ["IIIT5K"] * len(rows),
    }
    struct = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    arrays = {name: pyarrow.array(values, struct if name == "image" else None) for name, values in columns.items()}
    table = pyarrow.table(arrays).replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )
    pyarrow.parquet.write_table(table, tmp_path / "questions.parquet")
    with (tmp_path / "OCRBench.tsv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["index", "image", "question", "answer", "category"])
        for row in rows:
            image = base64.b64encode(row["png"]).decode()
            writer.writerow([row["index"], image, row["question"], repr(row["answer"]), CATEGORY])
    return tmp_path


@pytest.fixture(scope="module")
def model(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A model with random weights."""

    question = "What is written here? sea hill road"
    return made_once("harness-model", lambda folder: write_tiny_model(folder / "model", question)) / "model"


class ReadsSea:
    """A backend that reasons, and reads "sea" in every image; `asked` is how often it was."""

    name = "reads-sea"
    context = None

    def __init__(self) -> None:
        self.asked = 0

    async def tokenize(self, request: Request) -> list[int] | None:
        return [0]

    async def close(self) -> None: ...

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        assert len(request.images) == 1
        self.asked += n
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(n, deltas))

    async def _stream(self, n: int, deltas: DeltaStream) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0)
        for index in range(n):
            yield Delta(index, "<think>\nblue\n</think>\nsea", [1, 2], None, "stop")
        deltas.usage = Usage(1, 2 * n)


def run(script: str, *arguments: object) -> str:
    command = [PYTHON, SCRIPTS / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def run_lmms_eval(folder: Path, model: object, **settings: object) -> tuple[float, list[str]]:
    """lmms-eval's own command: the accuracy and the answers."""
    arguments = ",".join(f"{name}={value}" for name, value in {"pretrained": model, **settings}.items())
    options = ("--model", "step3vl", "--model_args", arguments, "--batch_size", 4)
    run("run_lmms_eval.py", folder, *options, "--output_path", folder / "out", "--log_samples")
    (results,) = folder.glob("out/**/*_results.json")
    (samples,) = folder.glob("out/**/*_samples_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    scores: dict[str, Any] = json.loads(results.read_text())["results"]["ocrbench_local"]
    return scores["ocrbench_accuracy,none"], [row["filtered_resps"] for row in rows]


def run_vlmevalkit(folder: Path, model: object, **settings: object) -> int:
    """VLMEvalKit's own run.py, whole: how many of the answers are right."""
    if not VLMEVALKIT.exists():
        pytest.skip("NOT PROVEN: no VLMEvalKit; run `make eval-peers VLMEVALKIT=PATH`")
    run("run_vlmevalkit.py", folder, model, *(f"{name}={value}" for name, value in settings.items()))
    return int(json.loads((folder / "out/step3vl/step3vl_OCRBench_score.json").read_text())["Final Score"])


def test_lmms_eval_runs_the_engine(questions: Path, model: Path) -> None:
    accuracy, answers = run_lmms_eval(questions, model, max_new_tokens=MAX_NEW_TOKENS, reasoning=False)
    assert (accuracy, len(answers)) == (0.0, len(WORDS))
    assert all(answers), "random weights say something"


def test_vlmevalkit_runs_the_engine(questions: Path, model: Path) -> None:
    assert run_vlmevalkit(questions, model, max_new_tokens=MAX_NEW_TOKENS, reasoning="false") == 0


@pytest.mark.parametrize("pacore", ["off", "2"])
def test_both_score_the_answers_of_a_server(
    pacore: str, questions: Path, listening: Callable[[Any], AbstractContextManager[str]]
) -> None:
    backend = ReadsSea()
    with listening(create_app({"reads-sea": backend})) as url:
        accuracy, answers = run_lmms_eval(questions, url, pacore=pacore)
        assert (accuracy, set(answers)) == (2 / 1000, {"sea"}), "it divides by the size of the whole benchmark"
        assert backend.asked == len(WORDS) * (3 if pacore == "2" else 1), "two rollouts and a synthesis"
        assert run_vlmevalkit(questions, url, pacore=pacore) == 2
