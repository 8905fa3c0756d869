"""An evaluation gives the same responses in this process and over HTTP."""

import asyncio
import json
from pathlib import Path

import pytest

from step3vl.evaluation import benchmarks
from step3vl.evaluation.model_identity import identify_model
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.runner import PAPER_SAMPLING, EvalConfig, run_benchmark
from step3vl.inference.client import OpenAIBackend
from step3vl.inference.engine import EngineBackend

TOY = Path(__file__).parents[2] / "evaluation" / "toy"


@pytest.mark.slow
def test_responses_in_process_and_over_http_are_identical(
    engine, engine_server, png, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmarks, "__path__", [str(TOY)])
    (tmp_path / "four.png").write_bytes(png())
    rows = [
        {"id": "a-0", "sum": "1 + 1", "answer": 2},
        {"id": "a-1", "sum": "How many?", "answer": 4, "image": "four.png"},
    ]
    (tmp_path / "sums.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    sampling = PAPER_SAMPLING.model_copy(update={"max_new_tokens": 12})
    config = EvalConfig(sampling=sampling, reasoning=False, concurrency=2)

    async def run(backend, name: str) -> list[dict]:
        benchmark, model = load_benchmark("toy-sums"), await identify_model(backend, None)
        result = await run_benchmark(benchmark, tmp_path, backend, tmp_path / name, config, model)
        assert result.metrics["failed"] == 0
        return [{**line, "seconds": 0} for line in result.items()]

    async def run_both() -> tuple[list[dict], list[dict]]:
        remote = OpenAIBackend(engine_server.root)
        try:
            return await run(EngineBackend(engine), "engine"), await run(remote, "server")
        finally:
            await remote.close()

    in_process, over_http = asyncio.run(run_both())
    assert in_process == over_http
    assert len(in_process) == 4
    assert len({line["response"] for line in in_process}) == 4, "each response has a seed of its own"
