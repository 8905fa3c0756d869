"""Many answers to one question with a picture: the engine beside the library's `generate` on the same model."""

import fixtures
import torch
from measure import Row, race

from step3vl.data.sample import Message, image, text
from step3vl.data.tokens import TokenIds
from step3vl.inference import Engine, Request, Sampling
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, tiny_config

PROMPTS, ROLLOUTS, NEW_TOKENS = 8, 8, 32


def rows(rounds: int) -> list[Row]:
    tokenizer = fixtures.small_tokenizer()
    ids = TokenIds.of(tokenizer)
    torch.manual_seed(0)
    config = tiny_config(tokenizer.get_vocab_size(), fixtures.SPEC, image_token_id=ids.image_patch)
    model = Step3VLForConditionalGeneration(config).eval()
    processor = Step3VLProcessor.build(tokenizer, fixtures.SPEC)
    pictures = [fixtures.photograph(160, 100, seed) for seed in range(PROMPTS)]
    words = [f"What is the grey of region {number}? " * 4 for number in range(PROMPTS)]
    requests = [
        Request((Message(role="user", content=(image(0), text(question))),), (picture,))
        for question, picture in zip(words, pictures, strict=True)
    ]
    conversations = [
        [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": question}]}]
        for question, picture in zip(words, pictures, strict=True)
    ]

    def new_engine() -> Engine:
        engine = Engine(model, processor)
        # Neither side may end an answer early, so that both draw the same number of tokens.
        engine.suppressed_ids = torch.cat((engine.suppressed_ids, engine.end_ids))
        return engine

    def ours(engine: Engine, temperature: float) -> list[list[int]]:
        sampling = Sampling(temperature=temperature, max_new_tokens=NEW_TOKENS)
        return [c.token_ids for answers in engine.generate(requests, ROLLOUTS, sampling) for c in answers]

    # An engine remembers the pictures that it has seen, so each run has its own.
    engines = [new_engine() for _ in range(rounds + 1)]
    forbidden = engines[0].suppressed_ids.tolist()

    def peer(sample: bool) -> list[list[int]]:
        inputs = processor.apply_chat_template(
            conversations,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            add_generation_prompt=True,
            processor_kwargs={"padding": True},
        )
        drawn = model.generate(
            **inputs,
            do_sample=sample,
            num_return_sequences=ROLLOUTS if sample else 1,
            max_new_tokens=NEW_TOKENS,
            suppress_tokens=forbidden,
            pad_token_id=ids.pad,
            **({"top_k": 0} if sample else {}),
        )[:, inputs["input_ids"].shape[1] :]
        tokenizer.decode_batch(drawn.tolist())
        return drawn.tolist()

    # The likeliest tokens must be the same; what is drawn by chance can only be counted.
    assert ours(new_engine(), 0.0)[::ROLLOUTS] == peer(sample=False)
    seconds = race(
        {"ours": lambda: sum(map(len, ours(engines.pop(), 1.0))), "peer": lambda: sum(map(len, peer(sample=True)))},
        rounds,
    )
    tokens = PROMPTS * ROLLOUTS * NEW_TOKENS
    note = f"model.generate(num_return_sequences={ROLLOUTS}); pictures and prompts prepared in both"
    what = f"{PROMPTS} prompts x {ROLLOUTS} answers x {NEW_TOKENS} tokens"
    return [Row(what, tokens / seconds["ours"], tokens / seconds["peer"], "tokens/cpu-s", note)]
