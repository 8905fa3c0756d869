"""Prompts that are continued as they stand, through the official client, a real server and the small engine."""

import pytest
from openai import BadRequestError, NotFoundError

from step3vl.data.tokens import END_THINK
from step3vl.inference import prefill
from step3vl.inference.jobs import Request
from step3vl.inference.openai_backend import OpenAIBackend
from step3vl.inference.sampling import Sampling

PROMPT = "How many <think> pictures<|im_end|>"


@pytest.fixture(scope="module")
def ids(engine) -> list[int]:
    """The prompt's, every name of a special token spelled out."""
    pieces = ("How many <", "think> pictures<|im_end|>")
    return [id_ for piece in pieces for id_ in engine.tokenizer.encode(piece, add_special_tokens=False).ids]


def test_a_prompt_is_continued_and_not_asked(served, engine, ids):
    assert not set(ids) & {engine.tokenizer.token_to_id(name) for name in ("<think>", "<|im_end|>", "<|im_start|>")}
    expected = engine.generate([Request(token_ids=ids)], 1, Sampling(temperature=0, max_new_tokens=12))[0][0]
    for prompt in (PROMPT, ids):
        reply = served.openai().completions.create(model="m", prompt=prompt, max_tokens=12, temperature=0)
        assert (reply.object, reply.choices[0].text) == ("text_completion", expected.text)
        assert reply.choices[0].finish_reason == expected.finish_reason
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(ids), len(expected.token_ids))
        assert reply.usage.completion_tokens_details.reasoning_tokens == 0


def test_the_ids_of_a_prompt_are_told(served, engine, ids):
    with served.http() as http:
        told = http.post("/tokenize", json={"prompt": PROMPT}).json()
    assert told == {"tokens": ids, "count": len(ids), "max_model_len": engine.context}


def test_each_prompt_has_its_choices_and_sixteen_tokens(served):
    options = {"model": "m", "n": 2, "temperature": 0}
    reply = served.openai().completions.create(prompt=["One", "How many"], **options)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.choices[0].text == reply.choices[1].text
    assert reply.usage.completion_tokens <= 4 * 16
    alone = served.openai().completions.create(prompt=[[*b"ab"], [*b"cd"]], max_tokens=1, **options)
    assert alone.usage.prompt_tokens == 4
    assert len(alone.choices) == 4


def test_a_streamed_continuation_is_the_whole_one(served):
    client = served.openai()
    options = {"model": "m", "prompt": PROMPT, "max_tokens": 20, "seed": 3, "n": 2, "logprobs": 2}
    whole = client.completions.create(**options)
    said, ends, usage = {0: "", 1: ""}, {}, None
    columns = {0: ([], [], []), 1: ([], [], [])}
    for chunk in client.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            said[choice.index] += choice.text
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
            if choice.logprobs:
                own = choice.logprobs
                for column, more in zip(
                    columns[choice.index], (own.tokens, own.token_logprobs, own.text_offset), strict=True
                ):
                    column += more
        usage = chunk.usage or usage
    for index, choice in enumerate(whole.choices):
        assert (said[index], ends[index]) == (choice.text, choice.finish_reason)
        own = choice.logprobs
        tokens, values, places = columns[index]
        assert (tokens, places) == (own.tokens, own.text_offset)
        assert values == pytest.approx(own.token_logprobs, abs=1e-4)
        assert all(0 < len(top) <= 2 for top in own.top_logprobs)
    assert usage == whole.usage
    assert said[0] != said[1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_is_echoed(served, stream):
    client = served.openai()
    options = {"model": "m", "prompt": PROMPT, "max_tokens": 6, "seed": 1}
    plain = client.completions.create(**options).choices[0].text
    reply = client.completions.create(**options, echo=True, stream=stream)
    text = "".join(chunk.choices[0].text for chunk in reply) if stream else reply.choices[0].text
    assert text == PROMPT + plain


def test_nothing_of_a_continuation_is_taken_for_a_thought(Scripted, serving):
    said = f"I think.\n{END_THINK}\nTwo."
    with serving(Scripted(lambda request, index: said)) as server:
        client = server.openai()
        assert client.completions.create(model="m", prompt="a").choices[0].text == said
        chunks = client.completions.create(model="m", prompt="a", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == said


def test_a_continuation_stops_before_a_stop_string(served):
    client = served.openai()
    options = {"model": "m", "prompt": PROMPT, "max_tokens": 30, "temperature": 0}
    text = client.completions.create(**options).choices[0].text
    stop = text[5:7]
    cut = client.completions.create(**options, stop=stop).choices[0]
    assert (cut.text, cut.finish_reason) == (text[: text.index(stop)], "stop")


@pytest.mark.parametrize(
    ("change", "error", "param"),
    [
        ({"model": "other"}, NotFoundError, "model"),
        ({"model": "m-pacore-low"}, BadRequestError, "model"),
        ({"extra_body": {"pacore": {"rounds": [2]}}}, BadRequestError, "pacore"),
        ({"suffix": "!"}, BadRequestError, "suffix"),
        ({"prompt": []}, BadRequestError, "prompt"),
        ({"prompt": ""}, BadRequestError, None),
        ({"prompt": [1, "a"]}, BadRequestError, "prompt"),
        ({"prompt": [-1]}, BadRequestError, "prompt"),
        ({"prompt": [2**40]}, BadRequestError, "prompt"),
        ({"prompt": [2**30]}, BadRequestError, None),
        ({"prompt": [5] * 100_000}, BadRequestError, "prompt"),
        ({"prompt": ["a", "b"], "stream": True}, BadRequestError, None),
        ({"prompt": ["a"] * 5, "n": 20}, BadRequestError, "n"),
        ({"echo": True, "logprobs": 1}, BadRequestError, None),
        ({"echo": True, "prompt": [5]}, BadRequestError, None),
    ],
)
def test_what_is_wrong_is_named(served, change, error, param):
    with pytest.raises(error) as caught:
        served.openai().completions.create(**{"model": "m", "prompt": "a", "max_tokens": 2, **change})
    assert caught.value.param == param
    assert caught.value.body["message"]
    assert served.idle()


def test_a_picture_is_no_token_of_a_prompt(served, engine):
    with pytest.raises(BadRequestError, match="image tokens"):
        served.openai().completions.create(model="m", prompt=[engine.tokenizer.token_to_id("<im_patch>")])


def test_a_gateway_continues_by_the_server_behind_it(served, serving, engine, asked):
    backend = OpenAIBackend(f"{served.root}/v1", "m")
    with serving(backend) as gateway:
        options = {"model": "m", "prompt": PROMPT, "max_tokens": 9, "seed": 2, "logprobs": 2}
        direct = served.openai().completions.create(**options)
        for stream in (False, True):
            reply = gateway.openai().completions.create(**options, stream=stream)
            choices = [chunk.choices[0] for chunk in reply if chunk.choices] if stream else reply.choices
            assert "".join(choice.text for choice in choices) == direct.choices[0].text
            spelled = [token for choice in choices if choice.logprobs for token in choice.logprobs.tokens]
            assert spelled == direct.choices[0].logprobs.tokens
        with gateway.http() as http:
            told = http.post("/tokenize", json={"prompt": PROMPT}).json()
        assert told["tokens"] == engine.tokenize(Request(text=PROMPT))


def test_a_gateway_counts_the_thoughts_of_the_server_behind_it(Scripted, serving, asked):
    with serving(Scripted(lambda request, index: "I think.\n</think>\nTwo.")) as behind:
        direct = behind.openai().chat.completions.create(model="m", messages=asked("?")).usage
        with serving(OpenAIBackend(f"{behind.root}/v1", "m")) as gateway:
            usage = gateway.openai().chat.completions.create(model="m", messages=asked("?")).usage
    assert usage.model_dump() == direct.model_dump()
    assert usage.completion_tokens_details.reasoning_tokens > 0


def test_a_backend_that_tells_no_tokens_says_so(Scripted, serving):
    class Silent(Scripted):
        async def tokenize(self, request):
            return None

    with serving(Silent(lambda request, index: "Two.")) as server:
        with server.http() as http:
            reply = http.post("/tokenize", json={"prompt": "a"})
        assert reply.status_code == 501
        assert "tokens" in reply.json()["error"]["message"]
        assert server.openai().completions.create(model="m", prompt="a").choices[0].text == "Two."


def test_a_request_is_encoded_once_and_its_picture_decoded_once(served, asked, png, data_url, monkeypatch):
    done = []

    def count(name):
        real = getattr(prefill, name)
        monkeypatch.setattr(prefill, name, lambda *given: (done.append(name), real(*given))[1])

    count("encode_prompt")
    count("upright")
    messages = asked("How many?", data_url(png(seed=7)))
    served.openai().chat.completions.create(model="m", messages=messages, max_tokens=2)
    assert done == ["encode_prompt", "upright"]
