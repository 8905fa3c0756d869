"""Text completions, through the official client, a real server and the small engine."""

import pytest
from openai import BadRequestError, NotFoundError

from step3vl.data.tokens import END_THINK
from step3vl.inference.client import OpenAIBackend, Request, Sampling
from step3vl.inference.engine import prefill

PROMPT = "How many <think> images<|im_end|>"


@pytest.fixture(scope="module")
def ids(engine) -> list[int]:
    """The ids of the prompt, with the names of special tokens as plain text."""
    pieces = ("How many <", "think> images<|im_end|>")
    return [id_ for piece in pieces for id_ in engine.tokenizer.encode(piece, add_special_tokens=False).ids]


def test_a_prompt_is_continued_without_a_chat_template(engine_server, engine, ids):
    assert not set(ids) & {engine.tokenizer.token_to_id(name) for name in ("<think>", "<|im_end|>", "<|im_start|>")}
    expected = engine.generate([Request(token_ids=ids)], 1, Sampling(temperature=0, max_new_tokens=12))[0][0]
    for prompt in (PROMPT, ids):
        reply = engine_server.openai().completions.create(model="m", prompt=prompt, max_tokens=12, temperature=0)
        assert (reply.object, reply.choices[0].text) == ("text_completion", expected.text)
        assert reply.choices[0].finish_reason == expected.finish_reason
        assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (len(ids), len(expected.token_ids))
        assert reply.usage.completion_tokens_details.reasoning_tokens == 0


def test_tokenize_returns_the_ids_of_a_prompt(engine_server, engine, ids):
    with engine_server.http() as http:
        reply_json = http.post("/tokenize", json={"prompt": PROMPT}).json()
    assert reply_json == {"tokens": ids, "count": len(ids), "max_model_len": engine.context}


def test_each_prompt_gets_n_choices_of_sixteen_tokens(engine_server):
    options = {"model": "m", "n": 2, "temperature": 0}
    reply = engine_server.openai().completions.create(prompt=["One", "How many"], **options)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert reply.choices[0].text == reply.choices[1].text
    assert reply.usage.completion_tokens <= 4 * 16
    alone = engine_server.openai().completions.create(prompt=[[*b"ab"], [*b"cd"]], max_tokens=1, **options)
    assert alone.usage.prompt_tokens == 4
    assert len(alone.choices) == 4


def test_streamed_and_complete_completions_are_equal(engine_server):
    client = engine_server.openai()
    options = {"model": "m", "prompt": PROMPT, "max_tokens": 20, "seed": 3, "n": 2, "logprobs": 2}
    whole = client.completions.create(**options)
    texts, ends, usage = {0: "", 1: ""}, {}, None
    columns = {0: ([], [], []), 1: ([], [], [])}
    for chunk in client.completions.create(**options, stream=True, stream_options={"include_usage": True}):
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            ends[choice.index] = choice.finish_reason or ends.get(choice.index)
            if choice.logprobs:
                logprobs = choice.logprobs
                for column, more in zip(
                    columns[choice.index],
                    (logprobs.tokens, logprobs.token_logprobs, logprobs.text_offset),
                    strict=True,
                ):
                    column += more
        usage = chunk.usage or usage
    for index, choice in enumerate(whole.choices):
        assert (texts[index], ends[index]) == (choice.text, choice.finish_reason)
        logprobs = choice.logprobs
        tokens, values, places = columns[index]
        assert (tokens, places) == (logprobs.tokens, logprobs.text_offset)
        assert values == pytest.approx(logprobs.token_logprobs, abs=1e-4)
        assert all(0 < len(top) <= 2 for top in logprobs.top_logprobs)
    assert usage == whole.usage
    assert texts[0] != texts[1]


@pytest.mark.parametrize("stream", [False, True])
def test_echo_returns_the_prompt(engine_server, stream):
    client = engine_server.openai()
    options = {"model": "m", "prompt": PROMPT, "max_tokens": 6, "seed": 1}
    plain = client.completions.create(**options).choices[0].text
    reply = client.completions.create(**options, echo=True, stream=stream)
    text = "".join(chunk.choices[0].text for chunk in reply) if stream else reply.choices[0].text
    assert text == PROMPT + plain


def test_a_completion_has_no_reasoning(ScriptedBackend, run_server):
    text = f"I think.\n{END_THINK}\nTwo."
    with run_server(ScriptedBackend(lambda request, index: text)) as server:
        client = server.openai()
        assert client.completions.create(model="m", prompt="a").choices[0].text == text
        chunks = client.completions.create(model="m", prompt="a", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == text


def test_a_completion_stops_before_a_stop_string(engine_server):
    client = engine_server.openai()
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
def test_errors_name_the_field(engine_server, change, error, param):
    with pytest.raises(error) as caught:
        engine_server.openai().completions.create(**{"model": "m", "prompt": "a", "max_tokens": 2, **change})
    assert caught.value.param == param
    assert caught.value.body["message"]
    assert engine_server.idle()


def test_image_tokens_in_a_prompt_are_refused(engine_server, engine):
    with pytest.raises(BadRequestError, match="image tokens"):
        engine_server.openai().completions.create(model="m", prompt=[engine.tokenizer.token_to_id("<im_patch>")])


def test_a_gateway_forwards_completions(engine_server, run_server, engine, user_message):
    backend = OpenAIBackend(f"{engine_server.root}/v1", "m")
    with run_server(backend) as gateway:
        options = {"model": "m", "prompt": PROMPT, "max_tokens": 9, "seed": 2, "logprobs": 2}
        direct = engine_server.openai().completions.create(**options)
        for stream in (False, True):
            reply = gateway.openai().completions.create(**options, stream=stream)
            choices = [chunk.choices[0] for chunk in reply if chunk.choices] if stream else reply.choices
            assert "".join(choice.text for choice in choices) == direct.choices[0].text
            spelled = [token for choice in choices if choice.logprobs for token in choice.logprobs.tokens]
            assert spelled == direct.choices[0].logprobs.tokens
        with gateway.http() as http:
            reply_json = http.post("/tokenize", json={"prompt": PROMPT}).json()
        assert reply_json["tokens"] == engine.tokenize(Request(text=PROMPT))


def test_a_gateway_forwards_the_count_of_reasoning_tokens(ScriptedBackend, run_server, user_message):
    with run_server(ScriptedBackend(lambda request, index: "I think.\n</think>\nTwo.")) as upstream:
        direct = upstream.openai().chat.completions.create(model="m", messages=user_message("?")).usage
        with run_server(OpenAIBackend(f"{upstream.root}/v1", "m")) as gateway:
            usage = gateway.openai().chat.completions.create(model="m", messages=user_message("?")).usage
    assert usage.model_dump() == direct.model_dump()
    assert usage.completion_tokens_details.reasoning_tokens > 0


def test_a_backend_without_a_tokenizer_still_completes(ScriptedBackend, run_server):
    class Silent(ScriptedBackend):
        async def tokenize(self, request):
            return None

    with run_server(Silent(lambda request, index: "Two.")) as server:
        with server.http() as http:
            reply = http.post("/tokenize", json={"prompt": "a"})
        assert reply.status_code == 501
        assert "tokenize" in reply.json()["error"]["message"]
        assert server.openai().completions.create(model="m", prompt="a").choices[0].text == "Two."


def test_a_request_is_encoded_once_and_its_image_decoded_once(engine_server, user_message, png, data_url, monkeypatch):
    done = []

    def count(name):
        real = getattr(prefill, name)
        monkeypatch.setattr(prefill, name, lambda *arguments: (done.append(name), real(*arguments))[1])

    count("encode_prompt")
    count("upright")
    messages = user_message("How many?", data_url(png(seed=7)))
    engine_server.openai().chat.completions.create(model="m", messages=messages, max_tokens=2)
    assert done == ["encode_prompt", "upright"]
