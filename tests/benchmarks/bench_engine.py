"""The engine beside the library's ways to generate, on the same weights: `generate`, `num_return_sequences`,
`generate_batch`; and how long a process takes from its start to the first token."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import fixtures
import torch
from measure import Row, race
from transformers import ContinuousBatchingConfig, GenerationConfig, Qwen3ForCausalLM

from step3vl.data.sample import Message, image, text
from step3vl.data.tokens import TokenIds
from step3vl.inference import Engine, Request, Sampling
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, tiny_config
from step3vl.model.checkpoint import save_checkpoint

NEW_TOKENS = 32
SIZES: dict[str, dict[str, int]] = {"tiny": {}, "small": {"hidden_size": 256, "layers": 6, "heads": 8, "kv_heads": 4}}
NOTE = "images and prompts prepared in both"


class Questions(NamedTuple):
    """The same questions as our requests and as the library's conversations."""

    requests: list[Request]
    conversations: list[list[dict[str, Any]]]


class Contender:
    """One model, ready to be asked in both ways; neither may end an answer early, so both sample as many tokens."""

    def __init__(self, size: str):
        tokenizer = fixtures.small_tokenizer()
        self.ids = TokenIds.of(tokenizer)
        torch.manual_seed(0)
        vocabulary = tokenizer.get_vocab_size()
        config = tiny_config(vocabulary, fixtures.SPEC, image_token_id=self.ids.image_patch, **SIZES[size])
        self.model = Step3VLForConditionalGeneration(config).eval()
        self.processor = Step3VLProcessor.build(tokenizer, fixtures.SPEC)
        self.forbidden = self.engine().suppressed_token_ids.tolist()

    def engine(self) -> Engine:
        """A new one each time: an engine remembers the images and prompts that it has seen."""
        engine = Engine(self.model, self.processor)
        engine.suppressed_token_ids = torch.cat((engine.suppressed_token_ids, engine.end_ids))
        return engine

    def ours(self, requests: Sequence[Request], n: int, temperature: float = 1.0) -> list[list[int]]:
        """All requests come one by one and run together."""
        engine = self.engine()
        sampling = Sampling(temperature=temperature, max_new_tokens=NEW_TOKENS)
        jobs = [engine.submit(request, sampling, n) for request in requests]
        return [completion.token_ids for job in jobs for completion in job.result()]

    def generate(self, conversations: list[list[dict[str, Any]]], n: int, sample: bool = True) -> list[list[int]]:
        inputs = self.processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True},
        )
        generated = self.model.generate(
            **inputs,
            do_sample=sample,
            num_return_sequences=n,
            max_new_tokens=NEW_TOKENS,
            suppress_tokens=self.forbidden,
            pad_token_id=self.ids.pad,
            **({"top_k": 0} if sample else {}),
        )[:, inputs["input_ids"].shape[1] :].tolist()
        self.processor.tokenizer.batch_decode(generated)
        return generated


def questions(count: int, words: int) -> Questions:
    images = [fixtures.photograph(160, 100, seed) for seed in range(count)]
    texts = [f"What is the grey of region {number}? " * words for number in range(count)]
    return Questions(
        [
            Request((Message(role="user", content=(image(0), text(question))),), (photo,))
            for question, photo in zip(texts, images, strict=True)
        ],
        [
            [{"role": "user", "content": [{"type": "image", "image": photo}, {"type": "text", "text": question}]}]
            for question, photo in zip(texts, images, strict=True)
        ],
    )


def rows(rounds: int) -> list[Row]:
    table = []
    for size in SIZES:
        contender = Contender(size)
        table += [
            *rollouts(contender, size, rounds),
            concurrent(contender, size, rounds),
            many_prompts(contender, size, rounds),
        ]
        if size == "tiny":
            table += [continuous(contender, rounds), first_token(contender, rounds)]
    return table


def rollouts(contender: Contender, size: str, rounds: int, n: int = 16) -> list[Row]:
    """n answers to one question: one prefill, shared, against one for each answer and against copies of one."""
    asked = questions(1, 17)
    length = len(contender.engine().tokenize(asked.requests[0]))
    assert contender.ours(asked.requests, n, 0.0) == contender.generate(asked.conversations, 1, sample=False) * n
    seconds = race(
        {
            "ours": lambda: total(contender.ours(asked.requests, n)),
            "copies": lambda: total(contender.generate(asked.conversations, n)),
            "separate": lambda: sum(total(contender.generate(asked.conversations, 1)) for _ in range(n)),
        },
        rounds,
    )
    what = f"{size}: {n} answers x {NEW_TOKENS} tokens to one prompt of {length} with an image"
    peers = {"separate": f"{n} calls of model.generate", "copies": f"model.generate(num_return_sequences={n})"}
    return [
        row(what, n * NEW_TOKENS, seconds["ours"], seconds[peer], f"{name}; {NOTE}") for peer, name in peers.items()
    ]


def concurrent(contender: Contender, size: str, rounds: int, count: int = 16) -> Row:
    """Different questions, submitted one by one to a running engine, against one static batch of them."""
    asked = questions(count, 12)
    assert contender.ours(asked.requests, 1, 0.0) == contender.generate(asked.conversations, 1, sample=False)
    seconds = race(
        {
            "ours": lambda: total(contender.ours(asked.requests, 1)),
            "peer": lambda: total(contender.generate(asked.conversations, 1)),
        },
        rounds,
    )
    what = f"{size}: {count} different requests x {NEW_TOKENS} tokens, submitted one by one"
    return row(what, count * NEW_TOKENS, seconds["ours"], seconds["peer"], f"one batch of model.generate; {NOTE}")


def many_prompts(contender: Contender, size: str, rounds: int, count: int = 8, n: int = 8) -> Row:
    """What reinforcement learning asks for: several answers to several questions."""
    asked = questions(count, 4)
    sampling = Sampling(max_new_tokens=NEW_TOKENS, logprobs=0)

    def ours() -> int:
        answers = contender.engine().generate(asked.requests, n, sampling)
        return sum(len(completion.token_ids) for completions in answers for completion in completions)

    seconds = race({"ours": ours, "peer": lambda: total(contender.generate(asked.conversations, n))}, rounds)
    what = f"{size}: {count} prompts x {n} answers x {NEW_TOKENS} tokens, with log-probabilities"
    note = f"model.generate(num_return_sequences={n}), without; {NOTE}"
    return row(what, count * n * NEW_TOKENS, seconds["ours"], seconds["peer"], note)


def continuous(contender: Contender, rounds: int, count: int = 16) -> Row:
    """Texts alone, which is all that the library's continuous batching takes."""
    requests = [
        Request((Message(role="user", content=(text(f"What is the grey of region {number}? " * (8 + number)),)),))
        for number in range(count)
    ]
    config = contender.model.config.text_config
    model = Qwen3ForCausalLM(config).eval()
    model.model.load_state_dict(contender.model.model.state_dict())
    model.lm_head.load_state_dict(contender.model.lm_head.state_dict())
    prompts = [contender.engine().tokenize(request) for request in requests]
    generation = GenerationConfig(
        do_sample=False,
        max_new_tokens=NEW_TOKENS,
        suppress_tokens=contender.forbidden,
        eos_token_id=-1,
        pad_token_id=contender.ids.pad,
    )
    # Sized for this work: with its defaults it spends most of its time on filling masks for the whole memory.
    batching = ContinuousBatchingConfig(max_batch_tokens=512, num_blocks=64)

    def peer() -> list[list[int]]:
        outputs = model.generate_batch(
            inputs=prompts, generation_config=generation, continuous_batching_config=batching, warmup=False
        )
        return [output.generated_tokens for output in outputs.values()]

    seconds = race({"ours": lambda: contender.ours(requests, 1, 0.0), "peer": peer}, min(rounds, 3))
    what = f"tiny: {count} different texts x {NEW_TOKENS} tokens, submitted one by one"
    note = "Qwen3ForCausalLM.generate_batch, buffers sized for these prompts; the same greedy tokens"
    return row(what, count * NEW_TOKENS, seconds["ours"], seconds["peer"], note)


OURS = """
from PIL import Image
from step3vl.data.sample import Message, image, text
from step3vl.inference import Engine, Request, Sampling
from step3vl.model import load_model
engine = Engine(*load_model(FOLDER))
request = Request((Message(role="user", content=(image(0), text(WORDS))),), (Image.open(IMAGE),))
next(engine.stream(request, Sampling(temperature=0, max_new_tokens=8)))
"""
PEER = """
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor
model = AutoModelForImageTextToText.from_pretrained(FOLDER, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(FOLDER, trust_remote_code=True)
content = [{"type": "image", "image": Image.open(IMAGE)}, {"type": "text", "text": WORDS}]
inputs = processor.apply_chat_template(
    [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt",
    add_generation_prompt=True,
)
model.generate(**inputs, do_sample=False, max_new_tokens=1)
"""


def first_token(contender: Contender, rounds: int) -> Row:
    """A new process: imports, checkpoint, a prompt with an image, its first token."""
    with fixtures.folder() as root:
        save_checkpoint(contender.model, contender.processor, root / "model")
        fixtures.photograph(160, 100, 0).save(root / "image.png")
        values = {"FOLDER": root / "model", "IMAGE": root / "image.png", "WORDS": "What is the grey? " * 30}
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        for number in range(min(rounds, 3)):
            for name, script in (("ours", OURS), ("peer", PEER))[:: 1 if number % 2 else -1]:
                seconds[name].append(process_seconds(script, values))
    took = {name: median(times) for name, times in seconds.items()}
    note = f"transformers, trust_remote_code: {took['peer']:.2f} s of CPU; ours {took['ours']:.2f} s"
    return Row("tiny: process start to first token", 1 / took["ours"], 1 / took["peer"], "starts/cpu-s", note)


def process_seconds(script: str, values: dict[str, Path | str]) -> float:
    """CPU seconds of a script in a process of its own."""
    head = "".join(f"{name} = {str(value)!r}\n" for name, value in values.items())
    tail = "\nimport os\nprint(sum(os.times()[:4]))\n"
    done = subprocess.run([sys.executable, "-c", head + script + tail], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def row(what: str, tokens: int, ours: float, peer: float, note: str) -> Row:
    return Row(what, tokens / ours, tokens / peer, "tokens/cpu-s", note)


def total(generated: list[list[int]]) -> int:
    return sum(map(len, generated))
