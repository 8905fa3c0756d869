"""No field that changes an answer is dropped: it takes effect, or the refusal names it."""

import base64
import io
import json

import pytest
from openai import BadRequestError
from PIL import Image

from step3vl.data.sample import TextPart
from step3vl.inference.client import OpenAIBackend
from step3vl.inference.server import ServerConfig
from step3vl.inference.server.request_fields import IGNORED, NEUTRAL

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def scripted(ScriptedBackend, run_server):
    with run_server(ScriptedBackend(lambda request, index: "why</think>yes", context=100_000)) as server:
        yield server


def post(server, path=CHAT, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": "How many?"}], "max_tokens": 8, **fields}
    with server.http() as http:
        return http.post(path, json={name: value for name, value in body.items() if value != "absent"})


def last_request(server):
    return server.service._models["m"].backend.requests[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bad_words", ["x"]),
        ("chat_template", "{{ messages }}"),
        ("chat_template_kwargs", {"enable_thinking": False}),
        ("continue_final_message", True),
        ("add_generation_prompt", False),
        ("prompt_logprobs", 1),
        ("prompt_logprobs", 0),
        ("guided_json", {"type": "object"}),
        ("guided_choice", ["a", "b"]),
        ("structured_outputs", {"choice": ["a"]}),
        ("mm_processor_kwargs", {"size": 1}),
        ("documents", [{"text": "a"}]),
        ("allowed_token_ids", [1]),
        ("truncate_prompt_tokens", 5),
        ("thinking_token_budget", 5),
        ("reasoning_effort", "low"),
        ("include_reasoning", False),
        ("skip_special_tokens", False),
        ("include_stop_str_in_output", True),
        ("use_beam_search", True),
        ("length_penalty", 2.0),
        ("echo", True),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("prediction", {"type": "content", "content": "a"}),
        ("modalities", ["text", "audio"]),
        ("verbosity", "low"),
        ("web_search_options", {"search_context_size": "low"}),
        ("return_token_ids", True),
        ("response_format", {"type": "json_object"}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "f"}}),
        ("temprature", 0.5),
    ],
)
def test_a_field_without_effect_is_refused_by_name(scripted, name, value):
    reply = post(scripted, **{name: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == name
    assert reply.json()["error"]["message"].startswith(f"{name}: ")


@pytest.mark.parametrize("path", ["/v1/completions", "/tokenize"])
def test_so_it_is_on_the_other_paths(scripted, path):
    change = {"messages": "absent", "max_tokens": "absent"}
    reply = post(scripted, path, prompt="a", add_special_tokens=True, **change)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "add_special_tokens")
    assert post(scripted, path, prompt="a", add_special_tokens=False, **change).status_code == 200


def test_fields_that_change_nothing_are_accepted(scripted):
    neutral = {name: values[0] for name, values in NEUTRAL.items() if values}
    ignored = dict.fromkeys(IGNORED, 1)
    nothing = {"bad_words": [], "guided_json": None, "chat_template_kwargs": {}, "suffix": ""}
    options = {"include_usage": True, "include_obfuscation": False}
    assert post(scripted, **neutral, **ignored, **nothing, stream_options=options).status_code == 200
    reply = post(scripted, stream_options={"continuous_usage_stats": True})
    assert reply.json()["error"]["param"] == "stream_options.continuous_usage_stats"


def test_the_small_fields_of_vllm_reach_the_backend(scripted):
    fields = {"logit_bias": {"5": 1.5}, "min_tokens": 3, "ignore_eos": True, "stop_token_ids": [7, 8]}
    for path, more in ((CHAT, {}), ("/v1/completions", {"prompt": "a", "messages": "absent"})):
        assert post(scripted, path, **fields, **more).status_code == 200
        _, sampling, _ = last_request(scripted)
        assert (dict(sampling.logit_bias), sampling.min_new_tokens) == ({5: 1.5}, 3)
        assert (sampling.ignore_eos, sampling.stop_token_ids) == (True, (7, 8))
    reply = post(scripted, min_tokens=9)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "min_tokens")


def test_they_take_effect_in_the_engine(engine_server, user_message):
    client = engine_server.openai()
    options = {"model": "m", "messages": user_message("How many?"), "temperature": 0, "max_tokens": 6}
    plain = client.chat.completions.create(**options, logprobs=True).choices[0]
    biased = client.chat.completions.create(**options, logit_bias={"70": 100}, logprobs=True).choices[0]
    assert len({token.token for token in biased.logprobs.content}) == 1
    assert biased.message.reasoning_content != plain.message.reasoning_content
    with pytest.raises(BadRequestError, match="logit_bias"):
        client.chat.completions.create(**options, logit_bias={"99999999": 1})


@pytest.mark.parametrize("stop", ["", [""], ["", "no"], None])
def test_an_empty_stop_string_stops_nothing(scripted, stop):
    assert post(scripted, stop=stop).status_code == 200
    _, sampling, _ = last_request(scripted)
    assert sampling.stop == (("no",) if stop == ["", "no"] else ())


@pytest.mark.parametrize("header", [{}, {"Content-Type": "text/plain"}])
def test_a_body_without_a_json_header_is_told_so(scripted, header):
    with scripted.http() as http:
        reply = http.post(CHAT, content=b'{"model": "m"}', headers=header)
    assert reply.status_code == 400
    assert "Content-Type: application/json" in reply.json()["error"]["message"]


@pytest.mark.parametrize("arguments", ["", " ", None, "{broken", '"text"', "[1]", {"x": 1}, '{"x": 1}'])
def test_any_tool_call_in_the_history_is_answered(scripted, arguments):
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": arguments}}
    history = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": None},
    ]
    assert post(scripted, messages=history).status_code == 200
    message = last_request(scripted)[0].messages[1]
    if arguments in ("{broken", '"text"', "[1]"):
        assert message.tool_calls == ()
        assert str(arguments) in message.content[0].text
    else:
        (called,) = message.tool_calls
        assert called.arguments == ({"x": 1} if "x" in str(arguments) else {})


def test_a_tool_with_a_strange_name_is_answered(scripted):
    call = {"id": "c", "function": {"name": "look at it", "arguments": "{}"}}
    history = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    assert post(scripted, messages=history).status_code == 200
    assert "look at it" in last_request(scripted)[0].messages[1].content[0].text


def test_a_stream_has_one_tool_call_a_chunk(ScriptedBackend, run_server):
    """Clients such as LlamaIndex read only the first call of a chunk."""
    texts = "\n".join(f'<tool_call>\n{{"name": "look", "arguments": {{"x": {x}}}}}\n</tool_call>' for x in range(3))
    backend = ScriptedBackend(lambda request, index: f"why</think>\n<tool_calls>\n{texts}\n</tool_calls>", 100_000)
    tools = [{"type": "function", "function": {"name": "look"}}]
    messages = [{"role": "user", "content": "Look."}]
    with run_server(backend) as server:
        for pacore in ({}, {"pacore": {"rounds": [2]}}):
            stream = server.openai().chat.completions.create(
                model="m", messages=messages, tools=tools, stream=True, extra_body=pacore
            )
            choices = [choice for chunk in stream for choice in chunk.choices]
            sent = [choice.delta.tool_calls for choice in choices if choice.delta.tool_calls]
            assert [[(call.index, call.function.arguments) for call in calls] for calls in sent] == [
                [(x, f'{{"x": {x}}}')] for x in range(3)
            ]
            assert choices[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(("parallel", "names"), [(False, ["a"]), (True, ["a", "b"]), (None, ["a", "b"])])
def test_without_parallel_tool_calls_only_the_first_call_is_returned(ScriptedBackend, run_server, parallel, names):
    calls = "\n".join(f'<tool_call>\n{{"name": "{name}", "arguments": {{}}}}\n</tool_call>' for name in "ab")
    backend = ScriptedBackend(lambda request, index: f"why</think><tool_calls>\n{calls}\n</tool_calls>", 100_000)
    tools = [{"type": "function", "function": {"name": name}} for name in "ab"]
    with run_server(backend) as server:
        for fields in ({}, {"pacore": {"rounds": [2]}}):
            fields |= {"tools": tools, "parallel_tool_calls": parallel}
            choice = post(server, **fields).json()["choices"][0]
            assert choice["finish_reason"] == "tool_calls"
            assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == names
            events = [line[6:] for line in post(server, **fields, stream=True).text.splitlines() if line]
            deltas = [json.loads(event)["choices"][0]["delta"] for event in events if event != "[DONE]"]
            streamed = [call["function"]["name"] for delta in deltas for call in delta.get("tool_calls", ())]
            assert streamed == names


def test_tool_results_are_matched_by_their_ids(scripted, data_url, png):
    calls = [{"id": id_, "function": {"name": "look", "arguments": "{}"}} for id_ in ("a", "b", "c")]

    def result(id_, text, *urls):
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return {"role": "tool", "tool_call_id": id_, "content": [*images, {"type": "text", "text": text}]}

    history = [
        {"role": "user", "content": "Look."},
        {"role": "assistant", "tool_calls": calls},
        result("c", "third", data_url(png(20, 20))),
        result("a", "first", data_url(png(30, 30))),
        result("b", "second"),
        {"role": "assistant", "tool_calls": calls[:2]},
        result("unknown", "x"),
        result("b", "later"),
        result("a", "earlier"),
    ]
    assert post(scripted, messages=history).status_code == 200
    request, _, _ = last_request(scripted)
    texts = [message.content[-1].text for message in request.messages if message.role == "tool"]
    assert texts == ["first", "second", "third", "x", "earlier", "later"]
    first, third = request.messages[2], request.messages[4]
    assert [request.images[message.content[0].image].width for message in (first, third)] == [30, 20]


def test_refusals_are_part_of_the_history(scripted):
    history = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I cannot."}]},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": None, "refusal": "I may not."},
        {"role": "user", "content": "So?"},
    ]
    assert post(scripted, messages=history).status_code == 200
    messages = last_request(scripted)[0].messages
    assert messages[1].content == (TextPart(text="I cannot."),)
    assert messages[3].content == (TextPart(text="I may not."),)


def variants(data: bytes) -> dict[str, str]:
    plain = base64.b64encode(data).decode()
    return {
        "line breaks": base64.encodebytes(data).decode(),
        "carriage returns": base64.encodebytes(data).decode().replace("\n", "\r\n"),
        "spaces": " ".join(plain[at : at + 60] for at in range(0, len(plain), 60)),
        "no padding": plain.rstrip("="),
        "URL-safe": base64.urlsafe_b64encode(data).decode(),
        "URL-safe, no padding": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "percent-encoded": plain.replace("+", "%2B").replace("/", "%2F").replace("=", "%3D"),
    }


@pytest.mark.parametrize("name", variants(b""))
def test_base64_in_every_common_spelling(scripted, user_message, png, name):
    for seed in range(3):  # of lengths with and without padding
        data = png(40 + seed, 30, seed)
        url = f"data:image/png;base64,{variants(data)[name]}"
        assert post(scripted, messages=user_message("See?", url)).status_code == 200
        assert last_request(scripted)[0].images[0].read() == data


def encoded(width, height, kind) -> bytes:
    buffer = io.BytesIO()
    Image.effect_mandelbrot((width, height), (-2, -1.5, 1, 1.5), 50).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def test_avif_is_read(scripted, user_message, data_url):
    assert post(scripted, messages=user_message("See?", data_url(encoded(80, 50, "AVIF"), "avif"))).status_code == 200
    image = last_request(scripted)[0].images[0]
    assert (image.format, image.width, image.height) == ("png", 80, 50)
    broken = encoded(80, 50, "AVIF")[:300]
    assert post(scripted, messages=user_message("See?", data_url(broken, "avif"))).status_code == 422


@pytest.mark.parametrize(
    ("detail", "size"), [("low", (512, 320)), ("high", (800, 500)), ("auto", (800, 500)), (None, (800, 500))]
)
def test_low_detail_shrinks_an_image(scripted, user_message, data_url, detail, size):
    messages = user_message("See?", data_url(encoded(800, 500, "PNG")))
    messages[0]["content"][0]["image_url"]["detail"] = detail
    assert post(scripted, messages=messages).status_code == 200
    image = last_request(scripted)[0].images[0]
    assert (image.width, image.height) == size
    messages[0]["content"][0]["image_url"]["detail"] = "vague"
    reply = post(scripted, messages=messages)
    assert reply.json()["error"]["param"].endswith("image_url.detail")


def test_a_request_without_a_limit_gets_a_modest_one(ScriptedBackend, run_server):
    backend = ScriptedBackend(lambda request, index: "</think>yes", context=100_000)
    with run_server(backend, ServerConfig(default_max_tokens=700)) as server:
        entries = server.openai().models.list().data
        assert {entry.default_max_tokens for entry in entries} == {700}
        for fields, expected in (({}, 700), ({"max_tokens": 5000}, 5000), ({"min_tokens": 900}, 900)):
            assert post(server, **{"max_tokens": "absent", **fields}).status_code == 200
            assert last_request(server)[1].max_new_tokens == expected
        assert post(server, model="m-pacore-low", max_tokens="absent").status_code == 200
        assert {sampling.max_new_tokens for _, sampling, _ in backend.requests[-2:]} == {700}
    assert ServerConfig().default_max_tokens < ServerConfig().max_tokens


def test_other_origins_are_allowed_by_option_only(ScriptedBackend, run_server):
    backend = ScriptedBackend(lambda request, index: "</think>yes")
    preflight = {
        "Origin": "https://app.test",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
    }
    with run_server(backend) as server, server.http() as http:
        assert "access-control-allow-origin" not in http.options(CHAT, headers=preflight).headers
        assert "access-control-allow-origin" not in http.get("/v1/models", headers=preflight).headers
    config = ServerConfig(cors_origins=("https://app.test",), api_keys=("secret",))
    with run_server(backend, config) as server, server.http() as http:
        allowed = http.options(CHAT, headers=preflight)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == "https://app.test"
        assert "x-stainless-os" in allowed.headers["access-control-allow-headers"]
        refused = http.get("/v1/models", headers=preflight)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://app.test")
        other = http.get("/v1/models", headers={"Origin": "https://evil.test"})
        assert "access-control-allow-origin" not in other.headers


def test_a_gateway_passes_on_what_it_does_not_own(peer, url, run_server, user_message):
    with run_server(OpenAIBackend(url), name="front") as gateway:
        fields = {
            "chat_template_kwargs": {"a": 1}, "guided_json": {"type": "object"}, "nobody_knows_this": [1], "n": 2,
            "tool_choice": "required", "response_format": {"type": "json_object"}, "stream": True,
        }  # fmt: skip
        assert post(gateway, model="front", **fields).status_code == 200
        assert {name: peer.bodies[-1][name] for name in fields} == fields
        assert peer.bodies[-1]["model"] == "peer"
        assert set(peer.bodies[-1]) == {"model", "messages", "max_tokens", *fields}
        # With PaCoRe every rollout has them.
        del fields["stream"], fields["n"]
        start = len(peer.bodies)
        assert post(gateway, model="front-pacore-low", **fields).status_code == 200
        assert len(peer.bodies) == start + 2
        for body in peer.bodies[start:]:
            assert {name: body[name] for name in fields} == fields
        assert post(gateway, model="front", pacore={}, **fields).status_code == 200
        assert len(peer.bodies) == start + 4


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422, 429, 500])
def test_a_gateway_hands_back_the_refusal(peer, url, run_server, status):
    with run_server(OpenAIBackend(url, retries=0), name="front") as gateway:
        peer.plan = [status]
        reply = post(gateway, model="front")
        assert reply.status_code == status
        assert reply.json() == {"error": {"message": "not now"}}
        assert reply.headers["retry-after"] == "0"
        peer.plan = [401]
        assert post(gateway, model="front").json()["error"]["code"] == "backend_unavailable"


def test_a_gateway_serves_the_backends_own_names(peer, url, run_server):
    with run_server(OpenAIBackend(url), name="front") as gateway:
        assert [model.id for model in gateway.openai().models.list().data][-1] == "peer"
        assert gateway.openai().models.retrieve("peer").max_model_len == 4096
        assert post(gateway, model="peer", n=1, stream=True).status_code == 200
        assert peer.bodies[-1]["model"] == "peer"
        reply = post(gateway, model="peer-pacore-low")
        assert reply.json()["model"] == "peer-pacore-low"
        assert reply.json()["choices"][0]["message"]["content"] == "Two."
        assert post(gateway, model="other").status_code == 404


def test_a_gateway_fetches_images_itself(peer, url, run_server, tmp_path, png, user_message, data_url):
    (tmp_path / "a.png").write_bytes(png())
    with run_server(OpenAIBackend(url), ServerConfig(image_folder=tmp_path), name="front") as gateway:
        messages = user_message("See?", f"file://{tmp_path}/a.png", data_url(png(seed=2)))
        assert post(gateway, model="front", messages=messages, n=1, stream=True).status_code == 200
        sent = peer.bodies[-1]["messages"][0]["content"]
        assert [part["image_url"]["url"] for part in sent[:2]] == [data_url(png()), data_url(png(seed=2))]
        video = [{"role": "user", "content": [{"type": "video_url", "video_url": {"url": "http://10.0.0.1/a"}}]}]
        for refused in (
            user_message("See?", "http://10.0.0.1/a.png"),
            user_message("See?", "file:///etc/passwd"),
            video,
        ):
            assert post(gateway, model="front", messages=refused, n=1).status_code == 400
        count = len(peer.bodies)
        assert post(gateway, model="front", messages=user_message("?", data_url(b"none")), n=1).status_code == 422
        assert len(peer.bodies) == count
