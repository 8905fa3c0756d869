"""Throughput of vLLM and of our engine on this machine: tokens per second for the same prompts.

The result is also written to runs/vllm.json.

python throughput.py: both use one thread for their tensors; CPU seconds of all processes are compared, so that the
load of the machine does not matter.
"""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import httpx
import psutil
import torch
from conftest import as_openai, photograph, user_message
from rich.console import Console
from rich.table import Table
from vllm_server import NAME, ROOT, serve, write_released

from step3vl.inference import Engine, Request, Sampling
from step3vl.model import load_model

TOKENS = 32
ROUNDS = 1
SIZE = (500, 400)
MODELS = {
    "tiny: width 128, 3 layers": {},
    "small: width 512, 8 layers": {
        "hidden_size": 512, "layers": 8, "heads": 8, "kv_heads": 4, "vision_width": 256, "vision_layers": 6,
    },
}  # fmt: skip


class Measurement(NamedTuple):
    """Tokens sampled, and the CPU seconds that it took."""

    tokens: int
    seconds: float


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of a process and all below it."""
    seconds = 0.0
    for member in (process, *process.children(recursive=True)):
        times = member.cpu_times()
        seconds += times.user + times.system
    return seconds


def timed(work: Callable[[int], int], process: psutil.Process) -> Measurement:
    """The median of the rounds. Each round has new images, so that no cache helps."""
    measurements = []
    for number in range(ROUNDS + 1):
        start = cpu_of(process)
        tokens = work(number)
        measurements.append(Measurement(tokens, cpu_of(process) - start))
    return sorted(measurements[1:], key=lambda round_: round_.seconds / round_.tokens)[ROUNDS // 2]


def requests(number: int, count: int) -> list[Request]:
    return [
        Request(user_message(0, "What do you see?"), [photograph(*SIZE, 100 * number + index)])
        for index in range(count)
    ]


def by_engine(engine: Engine, count: int, n: int) -> Callable[[int], int]:
    def work(number: int) -> int:
        sampling = Sampling(max_new_tokens=TOKENS, seed=number)
        answers = engine.generate(requests(number, count), n=n, sampling=sampling)
        return sum(len(rollout.token_ids) for rollouts in answers for rollout in rollouts)

    return work


def by_vllm(url: str, count: int, n: int) -> Callable[[int], int]:
    async def ask(client: httpx.AsyncClient, request: Request, seed: int) -> int:
        body = {
            "model": NAME, "messages": as_openai(request.messages, request.images), "max_tokens": TOKENS, "n": n,
            "seed": seed, "temperature": 1,
        }  # fmt: skip
        reply = await client.post(f"{url}/v1/chat/completions", json=body)
        return reply.raise_for_status().json()["usage"]["completion_tokens"]

    async def all_of(number: int) -> int:
        async with httpx.AsyncClient(timeout=600) as client:
            return sum(await asyncio.gather(*(ask(client, request, number) for request in requests(number, count))))

    return lambda number: asyncio.run(all_of(number))


WORK = {
    "1 request": (1, 1),
    "16 rollouts of 1 request": (1, 16),
    "16 requests, 16 images": (16, 1),
}


def rows(name: str, sizes: dict[str, int], folder: Path) -> list[dict]:
    model = write_released(folder / "model", **sizes)
    engine = Engine(*load_model(model, dtype=torch.float32))
    ours = {what: timed(by_engine(engine, *work), psutil.Process()) for what, work in WORK.items()}
    engine.close()
    with serve(model, folder / "vllm.log", plugin=False) as url:
        server = next(
            process
            for process in psutil.Process().children(recursive=True)
            if str(httpx.URL(url).port) in process.cmdline()
        )
        theirs = {what: timed(by_vllm(url, *work), server) for what, work in WORK.items()}
    return [
        {"model": name, "what": what, "engine": ours[what]._asdict(), "vllm": theirs[what]._asdict()} for what in WORK
    ]


def table(measured: list[dict]) -> Table:
    grid = Table(title=f"{TOKENS} tokens each, one image of {SIZE[0]}x{SIZE[1]} (186 tokens of prompt), float32")
    for column in ("model", "what", "engine", "vLLM", "ratio"):
        grid.add_column(column, justify="left" if column in ("model", "what") else "right")
    for row in measured:
        ours, theirs = (m.tokens / m.seconds for m in (Measurement(**row["engine"]), Measurement(**row["vllm"])))
        grid.add_row(row["model"], row["what"], f"{ours:.1f} tok/cpu-s", f"{theirs:.1f}", f"{ours / theirs:.2f}")
    return grid


def main() -> None:
    measured: list[dict] = []
    for name, sizes in MODELS.items():
        with TemporaryDirectory() as folder:
            measured += rows(name, sizes, Path(folder))
        Console(width=120).print(table(measured))
    result = ROOT / "runs" / "vllm.json"
    result.parent.mkdir(exist_ok=True)
    written = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "rows": measured}
    result.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
