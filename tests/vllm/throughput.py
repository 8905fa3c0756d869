"""vLLM on this machine beside our engine: tokens a second for the same prompts; the numbers go to runs/vllm.json too.

python throughput.py: each has one thread for its tensors, and what is compared are CPU seconds, those of all processes
of the server counted, so that a busy machine says the same as an idle one.
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
from conftest import as_openai, asked, photograph
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


class Taken(NamedTuple):
    """Tokens drawn, and the CPU seconds that it took."""

    tokens: int
    seconds: float


def cpu_of(process: psutil.Process) -> float:
    """CPU seconds of a process and all below it."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        spent += times.user + times.system
    return spent


def timed(work: Callable[[int], int], process: psutil.Process) -> Taken:
    """The middle one of the rounds. Each round has pictures of its own, so that no cache answers for it."""
    taken = []
    for number in range(ROUNDS + 1):
        spent = cpu_of(process)
        tokens = work(number)
        taken.append(Taken(tokens, cpu_of(process) - spent))
    return sorted(taken[1:], key=lambda one: one.seconds / one.tokens)[ROUNDS // 2]


def requests(number: int, count: int) -> list[Request]:
    return [Request(asked(0, "What do you see?"), [photograph(*SIZE, 100 * number + one)]) for one in range(count)]


def by_engine(engine: Engine, count: int, n: int) -> Callable[[int], int]:
    def work(number: int) -> int:
        sampling = Sampling(max_new_tokens=TOKENS, seed=number)
        answers = engine.generate(requests(number, count), n=n, sampling=sampling)
        return sum(len(one.token_ids) for rollouts in answers for one in rollouts)

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
            return sum(await asyncio.gather(*(ask(client, one, number) for one in requests(number, count))))

    return lambda number: asyncio.run(all_of(number))


WORK = {
    "1 request": (1, 1),
    "16 rollouts of 1 request": (1, 16),
    "16 requests, 16 pictures": (16, 1),
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


def table(found: list[dict]) -> Table:
    shown = Table(title=f"{TOKENS} tokens each, one picture of {SIZE[0]}x{SIZE[1]} (186 tokens of prompt), float32")
    for column in ("model", "what", "engine", "vLLM", "ratio"):
        shown.add_column(column, justify="left" if column in ("model", "what") else "right")
    for row in found:
        ours, theirs = (one.tokens / one.seconds for one in (Taken(**row["engine"]), Taken(**row["vllm"])))
        shown.add_row(row["model"], row["what"], f"{ours:.1f} tok/cpu-s", f"{theirs:.1f}", f"{ours / theirs:.2f}")
    return shown


def main() -> None:
    found: list[dict] = []
    for name, sizes in MODELS.items():
        with TemporaryDirectory() as folder:
            found += rows(name, sizes, Path(folder))
        Console(width=120).print(table(found))
    result = ROOT / "runs" / "vllm.json"
    result.parent.mkdir(exist_ok=True)
    written = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count(), "rows": found}
    result.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
