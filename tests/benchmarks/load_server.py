"""Many clients at `step3vl serve` for long: every reply has the status that it should, and memory stays flat.

    .venv/bin/python tests/benchmarks/load_server.py --requests 10000 --clients 64

Good requests of all kinds, hostile ones, and clients that leave, mixed by a seed; the model is tiny and random.
"""

import argparse
import asyncio
import base64
import io
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import fixtures
import httpx
from bench_engine import Contender

from step3vl.model.checkpoint import save_checkpoint

CHAT = "/v1/chat/completions"
WARM = 0.2  # the share of the requests after which memory is first read
EXPECTED = {
    "whole": 200, "stream": 200, "image": 200, "pacore": 200, "leave": 200, "hostile": 422, "broken": 400,
    "unknown": 404, "large": 413,
}  # fmt: skip


def bodies() -> dict[str, bytes]:
    """A request of each kind, encoded once so that the clients cost little."""
    buffer = io.BytesIO()
    fixtures.noise(120, 80, 0).save(buffer, "PNG")

    def encode(content: object, **more: object) -> bytes:
        messages = [{"role": "user", "content": content}]
        return json.dumps({"model": "tiny", "max_tokens": 6, "messages": messages, **more}).encode()

    def image(data: bytes) -> list[dict[str, object]]:
        url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
        return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What is it?"}]

    question = "What is the grey of region 7?"
    return {
        "whole": encode(question),
        "stream": encode(question, stream=True),
        "image": encode(image(buffer.getvalue())),
        "pacore": encode(question, stream=True, pacore={"rounds": [2]}),
        "leave": encode(question, stream=True, max_tokens=2000),
        "hostile": encode(image(b"GIF89a" + bytes(300))),
        "broken": b'{"model": "tiny", "messages": [',
        "unknown": encode(question, model="other"),
        "large": b" " * 1_100_000,
    }


async def send(http: httpx.AsyncClient, kind: str, body: bytes) -> int:
    async with http.stream("POST", CHAT, content=body, headers={"Content-Type": "application/json"}) as reply:
        if kind != "leave":
            await reply.aread()
        return reply.status_code


async def everything(root: str, requests: int, clients: int, memory: "Memory") -> tuple[Counter[str], list[float]]:
    rng = random.Random(0)
    weights = {"whole": 30, "stream": 30, "image": 10, "pacore": 5, "leave": 10}
    kinds = rng.choices(list(EXPECTED), [weights.get(kind, 4) for kind in EXPECTED], k=requests)
    wrong: Counter[str] = Counter()
    seconds: list[float] = []
    prepared = bodies()
    waiting = iter(kinds)

    async with httpx.AsyncClient(base_url=root, timeout=300, limits=httpx.Limits(max_connections=clients)) as http:

        async def client() -> None:
            for kind in waiting:
                start = time.perf_counter()
                status = await send(http, kind, prepared[kind])
                seconds.append(time.perf_counter() - start)
                if status != EXPECTED[kind]:
                    wrong[f"{kind}: {status}"] += 1
                if len(seconds) % (requests // 10) == 0:
                    memory.read(len(seconds))

        await asyncio.gather(*(client() for _ in range(clients)))
        while (await http.get("/health")).json()["running"]:
            await asyncio.sleep(0.1)
    return wrong, seconds


class Memory:
    """Resident memory and CPU seconds of the server."""

    def __init__(self, process: int):
        self.process = process
        self.seen: list[tuple[int, float, int]] = []

    def read(self, requests: int) -> None:
        status = Path(f"/proc/{self.process}/status").read_text()
        resident = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
        self.seen.append((requests, resident, len(list(Path(f"/proc/{self.process}/fd").iterdir()))))
        print(f"{requests:6d} requests  {resident:7.1f} MiB  {self.seen[-1][2]} files", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        contender = Contender("tiny")
        save_checkpoint(contender.model, contender.processor, Path(folder) / "tiny")
        command = [Path(sys.executable).with_name("step3vl"), "serve", f"{folder}/tiny", "--port", "0"]
        limits = ["request_bytes=1000000", "concurrency=32"]
        with subprocess.Popen([*command, *limits], stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            root = next(match[1] for line in server.stderr if (match := re.search(r"at (http://\S+);", line)))
            memory = Memory(server.pid)
            start = time.perf_counter()
            wrong, seconds = asyncio.run(everything(root, arguments.requests, arguments.clients, memory))
            took = time.perf_counter() - start
            server.terminate()
            left = server.wait(60)
    seconds.sort()
    half, most = seconds[len(seconds) // 2], seconds[int(len(seconds) * 0.99)]
    print(
        f"{len(seconds)} requests in {took:.0f} s; half took {half * 1000:.0f} ms, 99 % {most * 1000:.0f} ms at most"
    )
    settled = [resident for requests, resident, _ in memory.seen if requests >= WARM * arguments.requests]
    print(f"memory grew by {settled[-1] - settled[0]:+.1f} MiB after the first fifth; the server ended with {left}")
    assert not wrong, f"wrong statuses: {dict(wrong)}"


if __name__ == "__main__":
    main()
