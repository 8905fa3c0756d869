"""An independent implementation of OpenAI's protocol that fails on demand."""

import asyncio
import json
from typing import Any

from fastapi import FastAPI
from fastapi import Request as HttpRequest
from fastapi.responses import JSONResponse, Response, StreamingResponse


class Peer:
    """An independent server. `plan` lists what the next requests get: a status, "drop", "cut", "slow" or "error"."""

    def __init__(self) -> None:
        self.plan: list[Any] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.clients: set[tuple[str, int]] = set()
        self.disconnects = 0
        self.running = 0
        self.reasoning_field: str | None = "reasoning_content"
        self.n_support = "yes"  # or "ignores", "refuses"
        self.tokenizes = True
        self.has_completions = True
        self.reasoning_tokens: int | None = None
        self.answer = "Two."
        self.tools: list[dict[str, Any]] = []
        self.logprobs = False
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/chat/completions")(self.chat)
        self.app.post("/v1/completions")(self.complete)
        self.app.post("/tokenize")(self.tokenize)

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "peer", "object": "model", "max_model_len": 4096}]}

    async def tokenize(self, request: HttpRequest) -> Response:
        if not self.tokenizes:
            return JSONResponse({"detail": "Not Found"}, 404)
        body = await request.json()
        texts = [body["prompt"]] if "prompt" in body else [turn["content"] for turn in body["messages"]]
        ids = [ord(character) for text in texts for character in text]
        return JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": 4096})

    async def complete(self, request: HttpRequest) -> Response:
        body = await request.json()
        self.bodies.append(body)
        if not self.has_completions:
            return JSONResponse({"detail": "Not Found"}, 404)

        async def events():
            for index in range(body["n"]):
                for word in (" and", " so"):
                    logprobs = {
                        "tokens": [word],
                        "token_logprobs": [-0.5],
                        "top_logprobs": [{" or": -1.5, word: -0.5}],
                    }
                    choice = {"index": index, "text": word, "logprobs": logprobs if "logprobs" in body else None}
                    yield b"data: " + json.dumps({"choices": [{**choice, "finish_reason": None}]}).encode() + b"\n\n"
                end = {"index": index, "text": "", "finish_reason": "length"}
                yield b"data: " + json.dumps({"choices": [end]}).encode() + b"\n\n"
            usage = {"prompt_tokens": 3, "completion_tokens": 2 * body["n"]}
            yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def chat(self, request: HttpRequest) -> Response:
        self.clients.add(request.client)
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        step = self.plan.pop(0) if self.plan else None
        if isinstance(step, int):
            return JSONResponse({"error": {"message": "not now"}}, step, {"Retry-After": "0"})
        if self.n_support == "refuses" and body["n"] > 1:
            return JSONResponse({"error": {"message": "Only one completion choice is allowed"}}, 400)
        return StreamingResponse(self.events(body, step), media_type="text/event-stream")

    async def events(self, body: dict[str, Any], step: Any):
        def event(**fields: Any) -> bytes:
            return (
                b"data: " + json.dumps({"id": "1", "object": "chat.completion.chunk", **fields}).encode() + b"\r\n\r\n"
            )

        def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
            choice: dict[str, Any] = {"index": index, "delta": delta, "finish_reason": finish}
            if self.logprobs and "content" in delta:
                likely = [{"token": "Two", "logprob": -0.5}, {"token": "No", "logprob": -1.5}]
                choice["logprobs"] = {"content": [{"token": "Two", "logprob": -0.5, "top_logprobs": likely}]}
            return event(choices=[choice])

        n = 1 if self.n_support == "ignores" else body["n"]
        self.running += 1
        try:
            if step == "drop":
                raise RuntimeError("dropped")
            yield b": hello\n\n"
            for index in range(n):
                yield chunk(index, {"role": "assistant", "content": ""})
            for number in range(3 if step != "slow" else 10_000):
                for index in range(n):
                    if self.reasoning_field:
                        yield chunk(index, {self.reasoning_field: f"t{number}"})
                    else:
                        yield chunk(index, {"content": f"t{number}" + ("\n</think>\n" if number == 2 else "")})
                if step == "slow":
                    await asyncio.sleep(0.02)
            if step == "error":
                yield event(error={"message": "out of memory", "code": 500})
                return
            for index in range(n):
                yield chunk(index, {"content": self.answer})
                if step == "cut" and index == 0:
                    yield chunk(index, {}, "stop")
                    return
                for tool in self.tools:
                    yield chunk(index, {"tool_calls": [tool]})
                yield chunk(index, {}, "tool_calls" if self.tools else "stop")
            usage = {"prompt_tokens": 40, "completion_tokens": 7 * n, "total_tokens": 40 + 7 * n}
            if self.reasoning_tokens is not None:
                usage["completion_tokens_details"] = {"reasoning_tokens": self.reasoning_tokens * n}
            yield event(choices=[], usage=usage)
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.disconnects += 1
            raise
        finally:
            self.running -= 1
