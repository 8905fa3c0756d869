"""Reason in parallel, then answer:  python examples/pacore.py MODEL page.png "What is the total?"

MODEL may also be the address of a server, such as http://localhost:8000.
"""

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

from step3vl.data.sample import Image, Message, image, text
from step3vl.inference import Engine, EngineBackend, OpenAIBackend, PaCoRe, PaCoReConfig, Request, Sampling
from step3vl.inference.pacore import AnswerDelta, Finished, RoundFinished
from step3vl.model import load_model


async def main(model: str, image_path: str, question: str) -> None:
    message = Message(role="user", content=(image(0), text(question)))
    request = Request([message], [Image.from_bytes(Path(image_path).read_bytes())])
    backend = OpenAIBackend(model) if model.startswith("http") else EngineBackend(Engine(*load_model(model)))
    config = PaCoReConfig(rounds=(4,), sampling=Sampling(max_new_tokens=64), consensus=0.75)
    async with aclosing(PaCoRe(backend, config).stream(request)) as events:
        async for event in events:
            match event:
                case RoundFinished(round=number, trace=trace):
                    for rollout in trace.trajectories:
                        print(f"round {number}, rollout {rollout.index}: {rollout.answer!r}", file=sys.stderr)
                case AnswerDelta(delta=delta):
                    print(delta.text, end="", flush=True)
                case Finished(result=result):
                    print(f"\n{result.usage.total_tokens} tokens in {result.trace.seconds:.1f} s", file=sys.stderr)
    await backend.close()


asyncio.run(main(*sys.argv[1:]))
