"""Generation against the model's own plain forward, and what a caller relies on."""

import io

import pytest
import torch

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, image, text
from step3vl.data.tokens import encode_prompt
from step3vl.inference import Engine, Request, Sampling
from step3vl.inference import engine as engine_module

SETTINGS = Sampling(max_new_tokens=12, seed=7)


def full_forward(engine: Engine, request: Request, token_ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities of a reply by one pass without cache, padding or shared prefill."""
    sizes = [picture.size for picture in request.images]
    prompt = encode_prompt(request.messages, sizes, engine.tokenizer, engine.processor.spec)
    ids = torch.tensor([[*prompt.tolist(), *token_ids]])
    shown = [part.image for message in request.messages for part in message.content if part.type == "image"]
    pictures = {}
    if shown:
        pictures = engine.processor.image_processor([request.images[index] for index in shown])
        pictures.pop("patch_newline_mask")
    weights = torch.zeros(ids.shape)
    weights[:, len(prompt) :] = 1
    with torch.inference_mode():
        output = engine.model(
            ids, labels=ids, loss_weights=weights, temperature=temperature, suppress=engine.suppressed_ids, **pictures
        )
    return output.logprobs[0, len(prompt) :]


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_rollouts_that_share_a_prefill_have_the_logprobs_of_a_full_forward(engine, requests, temperature) -> None:
    sampling = SETTINGS.model_copy(update={"temperature": temperature})
    answers = engine.generate(requests, n=3, sampling=sampling, return_logprobs=True)
    assert [len(completions) for completions in answers] == [3, 3, 3]
    for request, completions in zip(requests, answers, strict=True):
        assert len({tuple(completion.token_ids) for completion in completions}) > 1
        for completion in completions:
            expected = full_forward(engine, request, completion.token_ids, temperature)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=0)


def test_the_picture_matters(engine, requests, noise) -> None:
    """Else the comparison above would prove little."""
    request = requests[1]
    completion = engine.generate([request], sampling=SETTINGS, return_logprobs=True)[0][0]
    other = Request(request.messages, (noise(150, 90, seed=9),))
    changed = full_forward(engine, other, completion.token_ids, 1.0)
    assert (torch.tensor(completion.logprobs) - changed).abs().max() > 1e-2


def test_greedy_answers_are_those_of_the_librarys_generate(engine, requests) -> None:
    for request in requests:
        greedy = engine.generate([request], sampling=Sampling(temperature=0, max_new_tokens=10))[0][0]
        prompt = encode_prompt(
            request.messages, [picture.size for picture in request.images], engine.tokenizer, engine.processor.spec
        )
        shown = [part.image for message in request.messages for part in message.content if part.type == "image"]
        pictures = engine.processor.image_processor([request.images[index] for index in shown]) if shown else {}
        ids = engine.model.generate(
            torch.from_numpy(prompt).long()[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=engine.end_ids.tolist(),
            pad_token_id=int(engine.end_ids[1]),
            suppress_tokens=engine.suppressed_ids.tolist(),
            **{name: value for name, value in pictures.items() if name != "patch_newline_mask"},
        )
        assert ids[0, len(prompt) :].tolist() == greedy.token_ids


def test_a_batch_gives_the_greedy_answers_of_single_requests(engine, requests) -> None:
    """Padding, the other rows and rows that leave the batch early do not touch a row."""
    greedy = Sampling(temperature=0, max_new_tokens=10)
    together = engine.generate(requests, n=2, sampling=greedy)
    for request, completions in zip(requests, together, strict=True):
        alone = engine.generate([request], sampling=greedy)[0][0]
        assert [completion.token_ids for completion in completions] == [alone.token_ids] * 2
        assert completions[0].prompt_tokens == alone.prompt_tokens


def test_the_seed_decides(engine, requests) -> None:
    first, again, other = (
        engine.generate(requests, n=2, sampling=SETTINGS.model_copy(update={"seed": seed})) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_picture_tokens_are_never_said_even_when_they_are_likeliest(fresh_engine, requests) -> None:
    with torch.no_grad():
        # All hidden states look the same way, and only picture tokens and one letter answer to it.
        fresh_engine.model.model.norm.weight.zero_()
        fresh_engine.model.model.norm.weight[0] = 1
        fresh_engine.model.lm_head.weight.zero_()
        fresh_engine.model.lm_head.weight[fresh_engine.suppressed_ids, 0] = 50
        fresh_engine.model.lm_head.weight[fresh_engine.suppressed_ids[:3], 0] = -50
    answers = fresh_engine.generate(requests, n=8, sampling=SETTINGS)
    said = {token for completions in answers for completion in completions for token in completion.token_ids}
    assert said
    assert not said & set(fresh_engine.suppressed_ids.tolist())


def biased(engine: Engine, token: int, strength: float) -> None:
    """Make one token likelier everywhere."""
    engine.model.lm_head.register_forward_hook(
        lambda module, inputs, logits: logits + strength * (torch.arange(logits.shape[-1]) == token)
    )


def test_replies_end_at_the_end_token_or_at_the_limit(fresh_engine, requests) -> None:
    end = int(fresh_engine.end_ids[0])
    biased(fresh_engine, end, 3.0)
    answers = fresh_engine.generate(requests, n=16, sampling=SETTINGS, return_logprobs=True)
    flat = [completion for completions in answers for completion in completions]
    assert {completion.finish_reason for completion in flat} == {"stop", "length"}
    for completion in flat:
        ids = completion.token_ids
        assert len(completion.logprobs) == len(ids)
        if completion.finish_reason == "stop":
            assert ids[-1] in fresh_engine.end_ids.tolist()
            assert not set(ids[:-1]) & set(fresh_engine.end_ids.tolist())
        else:
            assert len(ids) == SETTINGS.max_new_tokens
            assert not set(ids) & set(fresh_engine.end_ids.tolist())
        assert "<|im_end|>" not in completion.text


def test_logprobs_hold_while_others_leave_the_batch(fresh_engine, requests) -> None:
    biased(fresh_engine, int(fresh_engine.end_ids[0]), 3.0)
    answers = fresh_engine.generate(requests, n=8, sampling=SETTINGS, return_logprobs=True)
    for request, completions in zip(requests, answers, strict=True):
        for completion in completions:
            expected = full_forward(fresh_engine, request, completion.token_ids, 1.0)
            assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=0)


def test_decoding_ends_with_the_last_running_reply(fresh_engine, requests) -> None:
    biased(fresh_engine, int(fresh_engine.end_ids[0]), 100.0)
    calls = []
    fresh_engine.model.register_forward_hook(lambda *_: calls.append(1))
    fresh_engine.generate(requests, n=4, sampling=SETTINGS)
    assert len(calls) == 1


def test_the_thought_and_the_answer_are_parted(fresh_engine, requests) -> None:
    tokenizer = fresh_engine.tokenizer
    script = [*tokenizer.encode("one\n").ids, tokenizer.token_to_id("</think>"), *tokenizer.encode("\ntwo").ids]
    script.append(tokenizer.token_to_id("<|im_end|>"))
    step = iter(script)

    def follow_the_script(module, inputs, logits):
        return torch.full_like(logits, -100.0).index_fill(-1, torch.tensor([next(step)]), 100.0)

    fresh_engine.model.lm_head.register_forward_hook(follow_the_script)
    completion = fresh_engine.generate(requests[:1], sampling=Sampling(max_new_tokens=60))[0][0]
    assert completion.token_ids == script
    assert (completion.text, completion.reasoning, completion.answer) == ("one\n</think>\ntwo", "one", "two")


def test_a_stream_joins_to_the_generated_text(engine, requests) -> None:
    for request in requests:
        text = engine.generate([request], sampling=SETTINGS)[0][0].text
        pieces = list(engine.stream(request, SETTINGS))
        assert len(pieces) > 1
        # Bytes that are no whole character yet are held back, and dropped when the reply ends inside one.
        assert "".join(pieces) == text[: len("".join(pieces))]
        assert set(text[len("".join(pieces)) :]) <= {"\ufffd"}


def test_each_distinct_picture_is_encoded_once(fresh_engine, requests, noise) -> None:
    seen = []
    fresh_engine.model.vision_model.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    request = requests[1]
    fresh_engine.generate([request, request, request], n=2, sampling=SETTINGS)
    fresh_engine.generate([request], sampling=SETTINGS)
    crops = int(fresh_engine.processor.image_processor(request.images)["num_patches"].sum())
    assert seen == [1, crops]
    buffer = io.BytesIO()
    request.images[0].save(buffer, "PNG")
    fresh_engine.generate([Request(request.messages, (Image.from_bytes(buffer.getvalue()),))], sampling=SETTINGS)
    assert seen == [1, crops], "the same pixels from a file are the same picture"
    fresh_engine.generate([Request(request.messages, (noise(150, 90, seed=5),))], sampling=SETTINGS)
    assert seen == [1, crops, 1, crops]


def test_new_weights_change_the_answers_and_forget_old_pictures(fresh_engine, requests) -> None:
    before = fresh_engine.generate(requests, sampling=SETTINGS)
    state = {name: tensor.clone() for name, tensor in fresh_engine.model.state_dict().items()}
    noisy = {name: tensor + 0.1 * torch.randn_like(tensor) for name, tensor in state.items()}
    fresh_engine.load_state(noisy)
    after = fresh_engine.generate(requests, sampling=SETTINGS, return_logprobs=True)
    assert after != before
    expected = full_forward(fresh_engine, requests[1], after[1][0].token_ids, 1.0)
    assert torch.allclose(torch.tensor(after[1][0].logprobs), expected, atol=1e-5, rtol=0)
    fresh_engine.load_state(state)
    assert fresh_engine.generate(requests, sampling=SETTINGS) == before


def test_many_requests_are_answered_in_groups_and_in_order(engine, requests, monkeypatch) -> None:
    greedy = Sampling(temperature=0, max_new_tokens=6)
    expected = engine.generate(requests, n=2, sampling=greedy)
    monkeypatch.setattr(engine_module, "ROWS", 4)
    assert engine.generate(requests, n=2, sampling=greedy) == expected
    assert engine.generate([], sampling=greedy) == []


def test_replies_longer_than_a_block_of_the_cache(engine, requests, monkeypatch) -> None:
    monkeypatch.setattr("step3vl.inference.cohort.BLOCK", 3)
    sampling = Sampling(max_new_tokens=20, seed=3)
    for request in requests:
        completion = engine.generate([request], sampling=sampling, return_logprobs=True)[0][0]
        expected = full_forward(engine, request, completion.token_ids, 1.0)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=0)


def test_wrong_pictures_end_in_one_clear_line(engine, noise) -> None:
    missing = Request((Message(role="user", content=(image(1), text("?"))),), (noise(40, 40),))
    with pytest.raises(UserError, match="shows image 1, the request holds 1"):
        engine.generate([missing])
    strip = Request((Message(role="user", content=(image(0),)),), (noise(4000, 33),))
    with pytest.raises(UserError, match="crops"):
        engine.generate([strip])
