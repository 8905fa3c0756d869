"""Generation against the model's own plain forward, and what a caller relies on."""

import io

import pytest
import torch
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, Message, image, text
from step3vl.data.tokens import encode_prompt
from step3vl.inference import Engine, Request, Sampling
from step3vl.inference.engine import engine as engine_module
from step3vl.inference.engine import prefill

SETTINGS = Sampling(max_new_tokens=12, seed=7)


def full_forward(engine: Engine, request: Request, token_ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probabilities of a reply by one pass without cache, padding or shared prefill."""
    sizes = [img.size for img in request.images]
    prompt = encode_prompt(request.messages, sizes, engine.tokenizer, engine.processor.spec)
    ids = torch.tensor([[*prompt.tolist(), *token_ids]])
    indices = [part.image for message in request.messages for part in message.content if part.type == "image"]
    inputs = {}
    if indices:
        inputs = engine.processor.image_processor([request.images[index] for index in indices])
        inputs.pop("patch_newline_mask")
    weights = torch.zeros(ids.shape)
    weights[:, len(prompt) :] = 1
    with torch.inference_mode():
        output = engine.model(
            ids,
            labels=ids,
            loss_weights=weights,
            temperature=temperature,
            suppress=engine.suppressed_token_ids,
            **inputs,
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


def test_the_image_matters(engine, requests, noise) -> None:
    """Else the comparison above would prove little."""
    request = requests[1]
    completion = engine.generate([request], sampling=SETTINGS, return_logprobs=True)[0][0]
    other = Request(request.messages, (noise(150, 90, seed=9),))
    changed = full_forward(engine, other, completion.token_ids, 1.0)
    assert (torch.tensor(completion.logprobs) - changed).abs().max() > 1e-2


def test_colours_of_transparent_pixels_do_not_matter(engine, requests) -> None:
    """Whether an image comes decoded or as a file; it is read as if it lay on white paper."""
    sampling = SETTINGS.model_copy(update={"logprobs": 0})
    replies = []
    for colour in ((0, 0, 0, 0), (255, 0, 0, 0), (255, 255, 255, 255)):
        decoded = PILImage.new("RGBA", (150, 90), colour)
        file = io.BytesIO()
        decoded.save(file, "PNG")
        for source in (decoded, Image.from_bytes(file.getvalue())):
            replies.append(engine.generate([Request(requests[1].messages, (source,))], sampling=sampling)[0][0])
    for reply in replies:
        assert reply.token_ids == replies[0].token_ids
        assert reply.logprobs == pytest.approx(replies[0].logprobs, abs=1e-5)


def test_greedy_answers_are_those_of_transformers_generate(engine, requests) -> None:
    for request in requests:
        greedy = engine.generate([request], sampling=Sampling(temperature=0, max_new_tokens=10))[0][0]
        prompt = encode_prompt(
            request.messages, [img.size for img in request.images], engine.tokenizer, engine.processor.spec
        )
        indices = [part.image for message in request.messages for part in message.content if part.type == "image"]
        inputs = engine.processor.image_processor([request.images[index] for index in indices]) if indices else {}
        ids = engine.model.generate(
            torch.from_numpy(prompt).long()[None],
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=10,
            eos_token_id=engine.end_ids.tolist(),
            pad_token_id=int(engine.end_ids[1]),
            suppress_tokens=engine.suppressed_token_ids.tolist(),
            **{name: value for name, value in inputs.items() if name != "patch_newline_mask"},
        )
        assert ids[0, len(prompt) :].tolist() == greedy.token_ids


def test_a_batch_gives_the_greedy_answers_of_single_requests(engine, requests) -> None:
    """Padding, the other rows and rows that leave the batch early do not touch a row."""
    greedy = Sampling(temperature=0, max_new_tokens=10)
    batched = engine.generate(requests, n=2, sampling=greedy)
    for request, completions in zip(requests, batched, strict=True):
        alone = engine.generate([request], sampling=greedy)[0][0]
        assert [completion.token_ids for completion in completions] == [alone.token_ids] * 2
        assert completions[0].prompt_tokens == alone.prompt_tokens


def test_the_seed_decides(engine, requests) -> None:
    first, again, other = (
        engine.generate(requests, n=2, sampling=SETTINGS.model_copy(update={"seed": seed})) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_image_tokens_are_never_sampled_even_when_they_are_likeliest(fresh_engine, requests) -> None:
    with torch.no_grad():
        # All hidden states look the same way, and only image tokens and one character answer to it.
        fresh_engine.model.model.norm.weight.zero_()
        fresh_engine.model.model.norm.weight[0] = 1
        fresh_engine.model.lm_head.weight.zero_()
        fresh_engine.model.lm_head.weight[fresh_engine.suppressed_token_ids, 0] = 50
        fresh_engine.model.lm_head.weight[fresh_engine.suppressed_token_ids[:3], 0] = -50
    answers = fresh_engine.generate(requests, n=8, sampling=SETTINGS)
    sampled = {token for completions in answers for completion in completions for token in completion.token_ids}
    assert sampled
    assert not sampled & set(fresh_engine.suppressed_token_ids.tolist())


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
    stop_token_ids = range(0, fresh_engine.model.lm_head.out_features, 8)
    sampling = SETTINGS.model_copy(update={"stop_token_ids": tuple(stop_token_ids)})
    answers = fresh_engine.generate(requests, n=8, sampling=sampling, return_logprobs=True)
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


def test_reasoning_and_answer_are_split(fresh_engine, requests) -> None:
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
        # Bytes of an incomplete character are held back, and dropped when the reply ends inside it.
        assert "".join(pieces) == text[: len("".join(pieces))]
        assert set(text[len("".join(pieces)) :]) <= {"\ufffd"}


def test_each_distinct_image_is_encoded_once(fresh_engine, requests, noise) -> None:
    encoded = []
    fresh_engine.model.vision_model.register_forward_hook(lambda _, inputs, output: encoded.append(len(inputs[0])))
    request = requests[1]
    fresh_engine.generate([request, request, request], n=2, sampling=SETTINGS)
    fresh_engine.generate([request], sampling=SETTINGS)
    crops = int(fresh_engine.processor.image_processor(request.images)["num_patches"].sum())
    assert encoded == [1, crops]
    buffer = io.BytesIO()
    request.images[0].save(buffer, "PNG")
    fresh_engine.generate([Request(request.messages, (Image.from_bytes(buffer.getvalue()),))], sampling=SETTINGS)
    assert encoded == [1, crops], "the same pixels from a file are the same image"
    fresh_engine.generate([Request(request.messages, (noise(150, 90, seed=5),))], sampling=SETTINGS)
    assert encoded == [1, crops, 1, crops]


def test_new_weights_change_the_answers_and_clear_the_caches(fresh_engine, requests) -> None:
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


def test_many_requests_are_answered_in_waves_and_in_order(engine, requests, monkeypatch) -> None:
    greedy = Sampling(temperature=0, max_new_tokens=6)
    expected = engine.generate(requests, n=2, sampling=greedy)
    monkeypatch.setattr(engine_module, "MAX_ROWS", 4)
    assert engine.generate(requests, n=2, sampling=greedy) == expected
    assert engine.generate([], sampling=greedy) == []


def test_replies_longer_than_a_block_of_the_cache(engine, requests, monkeypatch) -> None:
    monkeypatch.setattr("step3vl.inference.engine.cohort.BLOCK", 3)
    sampling = Sampling(max_new_tokens=20, seed=3)
    for request in requests:
        completion = engine.generate([request], sampling=sampling, return_logprobs=True)[0][0]
        expected = full_forward(engine, request, completion.token_ids, 1.0)
        assert torch.allclose(torch.tensor(completion.logprobs), expected, atol=1e-5, rtol=0)


def test_the_screens_of_an_episode_are_decoded_once_each(fresh_engine, noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again only where the features of one are no longer cached, as after new weights; the answers are the same."""
    decoded = []
    upright = prefill.upright
    monkeypatch.setattr(prefill, "upright", lambda source, spec: decoded.append(source) or upright(source, spec))
    screens = [noise(60, 40, seed=seed) for seed in range(3)]
    files = []
    for screen in screens:
        buffer = io.BytesIO()
        screen.save(buffer, "PNG")
        files.append(Image.from_bytes(buffer.getvalue()))

    def ask(images, count):
        parts = tuple(image(index) for index in range(count))
        request = Request((Message(role="user", content=(*parts, text("?"))),), images[:count])
        answer = fresh_engine.generate([request], sampling=SETTINGS)[0][0].token_ids
        fresh_engine.check(request, SETTINGS)
        return answer

    answers = [ask(files, count) for count in (1, 2, 3)]
    assert len(decoded) == 3, "each with the request that shows it first"
    fresh_engine.load_state(fresh_engine.model.state_dict())  # every feature is forgotten
    assert ask(files, 3) == answers[2]
    assert len(decoded) == 6
    assert [ask(screens, count) for count in (1, 2, 3)] == answers


def test_wrong_images_are_refused(engine, noise) -> None:
    missing = Request((Message(role="user", content=(image(1), text("?"))),), (noise(40, 40),))
    with pytest.raises(UserError, match="shows image 1, the request has 1"):
        engine.generate([missing])
    strip = Request((Message(role="user", content=(image(0),)),), (noise(4000, 33),))
    with pytest.raises(UserError, match="crops"):
        engine.generate([strip])


def end_with(engine: Engine, token: int, **settings) -> Sampling:
    """Return settings under which a reply consists of this token from the first step on."""
    return Sampling(temperature=0, max_new_tokens=8, logit_bias={token: 100}, **settings)


def test_ignore_eos_continues_after_the_end_token(engine, requests) -> None:
    end = int(engine.end_ids[0])
    usual, ignoring = (
        engine.generate(requests[:1], sampling=end_with(engine, end, ignore_eos=ignore))[0][0]
        for ignore in (False, True)
    )
    assert (usual.token_ids, usual.finish_reason) == ([end], "stop")
    assert (ignoring.token_ids, ignoring.finish_reason) == ([end] * 8, "length")


@pytest.mark.parametrize("stop_at", ["the end token", "a stop token"])
def test_no_end_comes_before_min_new_tokens(engine, requests, stop_at) -> None:
    end = int(engine.end_ids[0]) if stop_at == "the end token" else engine.tokenizer.token_to_id("e")
    sampling = end_with(engine, end, stop_token_ids=(end,), min_new_tokens=5)
    reply = engine.generate(requests[:1], sampling=sampling)[0][0]
    assert end not in reply.token_ids[:5]
    assert reply.token_ids[5:] == [end]
    assert reply.finish_reason == "stop"


@pytest.mark.parametrize("streamed", [False, True])
def test_a_stop_token_ends_a_reply_and_is_not_in_its_text(engine, requests, streamed) -> None:
    """As in vLLM, where the text ends before the token whether it is special or not."""
    token = engine.tokenizer.token_to_id("e")
    sampling = end_with(engine, token, stop_token_ids=(token,))
    listener = (lambda delta: None) if streamed else None
    reply = engine.submit(requests[0], sampling, listener=listener).result(30)[0]
    assert (reply.token_ids, reply.text, reply.finish_reason) == ([token], "", "stop")


def test_a_stop_string_counts_once_min_new_tokens_are_there(engine, requests) -> None:
    """As in vLLM: its last token comes after the minimum."""
    token = engine.tokenizer.token_to_id("e")
    early = engine.generate(requests[:1], sampling=end_with(engine, token, stop=("ee",)))[0][0]
    late = engine.generate(requests[:1], sampling=end_with(engine, token, stop=("ee",), min_new_tokens=4))[0][0]
    assert (len(early.token_ids), early.text) == (2, "")
    assert (len(late.token_ids), late.text) == (5, "eee")


@pytest.mark.parametrize("field", ["logit_bias", "stop_token_ids"])
def test_a_token_outside_the_vocabulary_is_refused_by_the_field_that_names_it(engine, requests, field) -> None:
    outside = engine.model.lm_head.out_features
    sampling = Sampling(**{field: {outside: 1.0} if field == "logit_bias" else (outside,)})
    with pytest.raises(UserError, match=f"{field}: {outside} is no token id"):
        engine.submit(requests[0], sampling)


def test_stop_tokens_that_leave_nothing_to_sample_are_refused(engine, requests) -> None:
    """Else the whole batch would fail with them."""
    sampling = Sampling(stop_token_ids=tuple(range(engine.model.lm_head.out_features)), min_new_tokens=1)
    with pytest.raises(UserError, match="stop_token_ids"):
        engine.submit(requests[0], sampling)
