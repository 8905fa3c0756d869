"""A toy benchmark among the others, its files, and backends with scripted replies."""

import asyncio
import gzip
import io
import json
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from PIL import Image

from step3vl.evaluation import benchmarks
from step3vl.evaluation.registry import load_benchmark
from step3vl.inference.client import Delta, DeltaStream, Request, Sampling, Usage

SUMS = [
    {"id": "a-0", "sum": "1 + 1", "answer": 2},
    {"id": "a-1", "sum": "1 + 2", "answer": 3},
    {"id": "b-0", "sum": "the number in the image", "answer": 4, "image": "images/four.png"},
    {"id": "b-1", "sum": "2 + 3", "answer": 5},
    {"id": "c-0", "sum": "3 + 3", "answer": 6},
    {"id": "c-1", "sum": "3 + 4", "answer": 7},
]


@pytest.fixture
def toy_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy benchmarks are found as any other: by their modules."""
    monkeypatch.setattr(benchmarks, "__path__", [str(Path(__file__).with_name("toy"))])


@pytest.fixture
def toy(toy_modules):
    return load_benchmark("toy-sums")


@pytest.fixture
def essays(toy_modules):
    return load_benchmark("toy-essays")


@pytest.fixture
def toy_data(tmp_path: Path) -> Path:
    """A folder of benchmarks with the toy's files."""
    folder = tmp_path / "data" / "toy-sums"
    (folder / "images").mkdir(parents=True)
    (folder / "sums.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in SUMS))
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "navy").save(buffer, "PNG")
    (folder / "images" / "four.png").write_bytes(buffer.getvalue())
    return tmp_path / "data"


@pytest.fixture
def toy_records(tmp_path: Path, toy_data: Path) -> Path:
    """Recorded outputs of the toy: both variants of one sum right, one of each of the others."""
    folder = tmp_path / "records" / "TOY"
    folder.mkdir(parents=True)
    (folder / "sums.jsonl").write_bytes((toy_data / "toy-sums" / "sums.jsonl").read_bytes())
    replies = {"a-0": "2", "a-1": "is 3", "b-0": "4", "b-1": "9", "c-0": "no idea", "c-1": "7"}
    rows = [
        {"question_id": id_, "prediction": text, "hit": id_ not in ("b-1", "c-0")} for id_, text in replies.items()
    ]
    (folder / "model.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode()))
    return tmp_path / "records"


class ScriptedBackend:
    """A backend whose reply is a function of the request and of the sampling; `requests` are those it was asked."""

    def __init__(self, reply: Callable[[Request, Sampling], str], context: int | None = None):
        self.name = "scripted"
        self.context = context
        self.reply = reply
        self.requests: list[tuple[Request, Sampling]] = []

    async def tokenize(self, request: Request) -> list[int] | None:
        return [0] * sum(len(getattr(part, "text", "")) for turn in request.messages for part in turn.content)

    async def close(self) -> None: ...

    def stream(self, request: Request, sampling: Sampling, n: int = 1) -> DeltaStream:
        self.requests.append((request, sampling))
        deltas = DeltaStream(n)
        return deltas.bind(self._stream(request, sampling, n, deltas))

    async def _stream(
        self, request: Request, sampling: Sampling, n: int, deltas: DeltaStream
    ) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0)
        text = self.reply(request, sampling)
        for index in range(n):
            cut = text[: sampling.max_new_tokens]
            yield Delta(index, cut, [0] * len(cut), None, "stop" if cut == text else "length")
        deltas.usage = Usage(len(await self.tokenize(request) or ()), n * len(text))


@pytest.fixture(name="ScriptedBackend")
def scripted_backend() -> type[ScriptedBackend]:
    return ScriptedBackend
