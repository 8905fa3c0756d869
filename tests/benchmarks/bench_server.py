"""What HTTP adds to the engine: requests through a real server beside the same requests to the backend alone.

The client is another process, so that only the server's work is counted.
"""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from functools import partial

import httpx
from bench_engine import SIZES, Contender
from measure import Row, race

from step3vl.data.sample import Message, text
from step3vl.inference import Engine, Request, Sampling
from step3vl.inference.engine import EngineBackend
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.serve import listen, make_server

COUNT, TOKENS = 16, 64
QUESTION = "What is the grey of region 7?"


class Bare:
    """The backend on an event loop of its own, as a server holds it."""

    def __init__(self, engine: Engine):
        self.backend = EngineBackend(engine)
        self.loop = asyncio.new_event_loop()

    def ask(self, at_once: int) -> int:
        return self.loop.run_until_complete(self._ask(at_once))

    async def _ask(self, at_once: int) -> int:
        places = asyncio.Semaphore(at_once)

        async def ask_once() -> int:
            request = Request((Message(role="user", content=(text(QUESTION),)),))
            deltas = self.backend.stream(request, Sampling(temperature=0, max_new_tokens=TOKENS))
            async with places, aclosing(deltas):
                return sum([len(delta.token_ids) async for delta in deltas])

        return sum(await asyncio.gather(*(ask_once() for _ in range(COUNT))))


class Client:
    """A process that sends requests on command."""

    def __init__(self, root: str):
        command = [sys.executable, __file__, root]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, stream: bool, at_once: int) -> int:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps([stream, at_once]), file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


@contextmanager
def serving(engine: Engine) -> Iterator[str]:
    listener = listen("127.0.0.1", 0, 60)
    server = make_server({"tiny": EngineBackend(engine)}, ServerConfig(), drain=1)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    thread.start()
    while not server.started:
        threading.Event().wait(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def rows(rounds: int) -> list[Row]:
    table = []
    for size in SIZES:
        engine = Contender(size).engine()
        with serving(engine) as root:
            bare, client = Bare(engine), Client(root)
            for at_once in (1, 8):
                contenders = {
                    "whole": partial(client.ask, False, at_once),
                    "streamed": partial(client.ask, True, at_once),
                    "bare": partial(bare.ask, at_once),
                }
                seconds = race(contenders, rounds)
                for kind in ("whole", "streamed"):
                    added = 1000 * (seconds[kind] - seconds["bare"]) / COUNT
                    what = f"{size}, {TOKENS} tokens, {kind}, {at_once} at once"
                    note = f"the backend without HTTP, which adds {added:.2f} ms a request"
                    table.append(Row(what, COUNT / seconds[kind], COUNT / seconds["bare"], "requests/cpu-s", note))
            client.process.terminate()
            client.process.wait()
    return table


async def send(root: str, stream: bool, at_once: int) -> int:
    body = {
        "model": "tiny",
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": stream,
        "stream_options": {"include_usage": True},
    }
    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=root, timeout=60, limits=limits) as http:
        replies = await asyncio.gather(*(http.post("/v1/chat/completions", json=body) for _ in range(COUNT)))
    return sum(tokens(reply.text, stream) for reply in replies)


def tokens(reply: str, stream: bool) -> int:
    last = [line for line in reply.splitlines() if line][-2].removeprefix("data: ") if stream else reply
    return json.loads(last)["usage"]["completion_tokens"]


if __name__ == "__main__":
    for line in sys.stdin:
        print(asyncio.run(send(sys.argv[1], *json.loads(line))), flush=True)
