"""Requests to a server that answers well, badly, late, or not at all; and the cache before it."""

import base64
import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage
from pydantic import ValidationError

from step3vl.data.errors import InfrastructureError, UserError
from step3vl.data.sample import Image
from step3vl.pipelines.core.samples import encode_jpeg
from step3vl.pipelines.models.endpoint import Conversation, Endpoint, EndpointConfig, Prompt, RequestFailed, Usage
from step3vl.pipelines.render.style import plain

Make = Callable[..., Endpoint]


@pytest.fixture
def make(chat_server: Any, tmp_path: Path) -> Make:
    """An endpoint of the server, which does not pause between attempts."""

    def make(sleep: Any = lambda seconds: None, **fields: Any) -> Endpoint:
        defaults = {"url": chat_server.url, "model": "judge", "cache": str(tmp_path / "cache"), "attempts": 3}
        return Endpoint(EndpointConfig.model_validate({**defaults, **fields}), sleep)

    return make


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*.json"))}


def test_a_prompt_is_sent_with_its_images_before_the_text(make: Make, chat_server: Any, grey: Image) -> None:
    response = make(options={"temperature": 0.5}, max_tokens=9).complete(Prompt("What is it?", (grey,), "Be brief."))
    assert response.text == "a grey square" and response.model == "judge-1"
    assert response.usage == Usage(prompt_tokens=100, completion_tokens=10)
    (body,) = chat_server.bodies
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("judge", 9, 0.5)
    system, user = body["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    part, text = user["content"]
    assert text == {"type": "text", "text": "What is it?"}
    kind, _, data = part["image_url"]["url"].partition(";base64,")
    assert kind == "data:image/jpeg" and base64.b64decode(data) == grey.read()


def test_a_prompt_without_images_is_plain_text(make: Make, chat_server: Any) -> None:
    make().complete(Prompt("Hello"))
    assert chat_server.bodies[0]["messages"] == [{"role": "user", "content": "Hello"}]


def test_a_large_image_is_shrunk_and_a_rare_format_converted(make: Make, chat_server: Any) -> None:
    buffer = io.BytesIO()
    plain((64, 32), (1, 2, 3)).save(buffer, "GIF")
    images = (encode_jpeg(plain((400, 200), (9, 9, 9))), Image.from_bytes(buffer.getvalue()))
    make(max_side=100).complete(Prompt("?", images))
    urls = [part["image_url"]["url"] for part in chat_server.bodies[0]["messages"][0]["content"][:2]]
    sizes = [PILImage.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls]
    assert sizes == [(100, 50), (64, 32)] and all(url.startswith("data:image/png;") for url in urls)


def test_a_second_endpoint_reads_the_cache_and_asks_nothing(
    make: Make, chat_server: Any, grey: Image, tmp_path: Path
) -> None:
    prompts = [Prompt(f"Number {number}", (grey,)) for number in range(5)]
    first = make().complete_all(prompts)
    before = files(tmp_path / "cache")
    chat_server.otherwise = chat_server.answer("something else")
    again = make()
    assert again.complete_all(prompts) == first and again.requests == 0
    assert len(chat_server.bodies) == 5 and files(tmp_path / "cache") == before
    entry = json.loads(next(iter(before.values())))
    assert entry["request"]["messages"][0]["content"][0] == {"type": "image", "sha256": grey.sha256}
    assert b"base64" not in b"".join(before.values())


@pytest.mark.parametrize("fields", [{"model": "other"}, {"options": {"seed": 1}}, {"max_tokens": 7}])
def test_another_model_or_option_is_another_request(make: Make, chat_server: Any, fields: dict[str, Any]) -> None:
    make().complete(Prompt("Hello"))
    make(**fields).complete(Prompt("Hello"))
    assert len(chat_server.bodies) == 2


def test_another_address_of_the_server_is_the_same_request(make: Make, chat_server: Any) -> None:
    make().complete(Prompt("Hello"))
    make(url="http://127.0.0.1:9/v1", concurrency=2, timeout=1).complete(Prompt("Hello"))
    assert len(chat_server.bodies) == 1


def test_of_two_responses_to_one_request_the_first_that_is_stored_is_used_by_both(
    make: Make, chat_server: Any
) -> None:
    chat_server.script = [chat_server.wait(0.2, "slow"), chat_server.answer("fast")]
    with ThreadPoolExecutor(2) as workers:
        responses = list(workers.map(lambda endpoint: endpoint.complete(Prompt("Hello")), (make(), make())))
    assert [response.text for response in responses] == ["fast", "fast"]


def test_a_prompt_that_fails_is_told_when_the_others_are_in_the_cache(make: Make, chat_server: Any) -> None:
    def behaviour(handler: Any, body: dict[str, Any]) -> None:
        text = body["messages"][0]["content"]
        (chat_server.refuse(400) if text == "bad" else chat_server.wait(0.2, text))(handler, body)

    chat_server.otherwise = behaviour
    endpoint = make(concurrency=3)
    with pytest.raises(RequestFailed):
        endpoint.complete_all([Prompt("bad"), Prompt("one"), Prompt("two")])
    assert [response.text for response in endpoint.complete_all([Prompt("one"), Prompt("two")])] == ["one", "two"]
    assert len(chat_server.bodies) == 3


def test_equal_prompts_are_one_request(make: Make, chat_server: Any, grey: Image) -> None:
    prompts = [Prompt("Hello"), Prompt("Hello", (grey,)), Prompt("Hello"), Prompt("Hello", (grey,))]
    chat_server.script = [chat_server.answer("Hello"), chat_server.answer("A grey image")]
    responses = make(concurrency=1).complete_all(prompts)
    assert [response.text for response in responses] == ["Hello", "A grey image"] * 2
    assert len(chat_server.bodies) == 2


def test_samples_of_other_seeds_are_other_requests_and_equal_ones_are_in_the_cache(
    make: Make, chat_server: Any, grey: Image
) -> None:
    asked = Conversation([{"role": "user", "content": [{"type": "image", "image": 0}]}], (grey,))
    chat_server.script = [chat_server.answer(f"reply {number}") for number in range(3)]
    endpoint = make(concurrency=1, options={"seed": 9})
    first = endpoint.sample_all(asked, range(3))
    assert [body["seed"] for body in chat_server.bodies] == [0, 1, 2]
    assert [response.text for response in first] == ["reply 0", "reply 1", "reply 2"]
    again = make()
    assert again.sample_all(asked, [2, 0, 1]) == [first[2], first[0], first[1]]
    assert again.requests == 0


def test_a_sample_that_is_cut_is_no_failure_of_an_equal_prompt_nor_the_other_way_round(
    make: Make, chat_server: Any
) -> None:
    asked = Conversation([{"role": "user", "content": [{"type": "text", "text": "Hello"}]}])
    chat_server.otherwise = chat_server.answer("half an ans", "length")
    endpoint = make(options={"seed": 1})
    for _ in range(2):
        assert endpoint.sample_all(asked, [1])[0].cut
        with pytest.raises(RequestFailed, match="cut"):
            endpoint.complete(Prompt("Hello"))
    assert len(chat_server.bodies) == 2


def test_a_damaged_file_of_the_cache_is_asked_for_again(make: Make, chat_server: Any, tmp_path: Path) -> None:
    make().complete(Prompt("Hello"))
    (path,) = (tmp_path / "cache").rglob("*.json")
    path.write_text("{half")
    assert make().complete(Prompt("Hello")).text == "a grey square"
    assert len(chat_server.bodies) == 2 and json.loads(path.read_text())["response"]["text"] == "a grey square"


@pytest.mark.parametrize(
    "fault",
    [
        ("refuse", 429), ("refuse", 500), ("refuse", 503), ("cut", None), ("hang_up", None), ("drip", None),
        ("wait", 2.0),
        ("garble", b"<html>gateway</html>"), ("garble", b"{}"), ("garble", b'{"choices": []}'), ("garble", b"[1]"),
        ("garble", b"\xff\xfe"), ("answer", None), ("answer", "  "),
    ],
    ids=str,
)  # fmt: skip
def test_what_may_pass_is_tried_again(make: Make, chat_server: Any, fault: tuple[str, Any]) -> None:
    name, argument = fault
    behaviour = getattr(chat_server, name)
    chat_server.script = [behaviour if name in ("cut", "hang_up", "drip") else behaviour(argument)]
    assert make(timeout=0.4).complete(Prompt("Hello")).text == "a grey square"
    assert len(chat_server.bodies) == 2


def test_a_response_that_arrives_byte_by_byte_ends_at_the_time_limit(make: Make, chat_server: Any) -> None:
    chat_server.otherwise = chat_server.drip
    started = time.monotonic()
    with pytest.raises(RequestFailed, match=r"no response within 0.3 s, at each of 2 attempts"):
        make(timeout=0.3, attempts=2).complete(Prompt("Hello"))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("value", ["7", formatdate(time.time() + 3600, usegmt=True)], ids=["seconds", "date"])
def test_the_server_says_how_long_to_wait(make: Make, chat_server: Any, value: str) -> None:
    pauses: list[float] = []
    chat_server.script = [chat_server.refuse(429, Retry_After=value)]
    if value == "7":
        make(pauses.append).complete(Prompt("Hello"))
        assert pauses == [7.0]
    else:
        with pytest.raises(InfrastructureError, match="asks to wait"):
            make(pauses.append).complete(Prompt("Hello"))


def test_pauses_grow_and_are_bounded(make: Make, chat_server: Any) -> None:
    pauses: list[float] = []
    chat_server.otherwise = chat_server.refuse(503)
    with pytest.raises(InfrastructureError, match="the server answers 503: no, at each of 10 attempts"):
        make(pauses.append, attempts=10, backoff=1).complete(Prompt("Hello"))
    assert len(pauses) == 9 and max(pauses) <= 60
    assert all(2**number / 2 <= pause <= 2**number for number, pause in enumerate(pauses[:6]))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_refuses_is_the_records_failure_and_is_remembered(
    make: Make, chat_server: Any, status: int
) -> None:
    chat_server.otherwise = chat_server.refuse(status, "prompt is too long")
    for _ in range(2):
        with pytest.raises(RequestFailed, match=f"the server answers {status}: prompt is too long"):
            make().complete(Prompt("Hello"))
    assert len(chat_server.bodies) == 1


@pytest.mark.parametrize(("ending", "reason"), [("length", "cut at max_tokens"), ("content_filter", "content filter")])
def test_a_response_that_is_not_whole_fails(make: Make, chat_server: Any, ending: str, reason: str) -> None:
    chat_server.otherwise = chat_server.answer("half of it", ending)
    with pytest.raises(RequestFailed, match=reason):
        make().complete(Prompt("Hello"))


def test_a_request_that_always_breaks_a_server_that_is_up_is_the_records_failure(make: Make, chat_server: Any) -> None:
    chat_server.otherwise = chat_server.refuse(500, "assertion failed")
    with pytest.raises(RequestFailed, match="assertion failed, at each of 3 attempts"):
        make().complete(Prompt("Hello"))


def test_the_same_from_a_server_that_is_down_is_the_machines(make: Make, chat_server: Any, tmp_path: Path) -> None:
    chat_server.otherwise, chat_server.is_up = chat_server.refuse(500), False
    with pytest.raises(InfrastructureError, match="start the server"):
        make().complete(Prompt("Hello"))
    assert files(tmp_path / "cache") == {}


def test_no_server_at_all_is_the_machines_failure(make: Make) -> None:
    with pytest.raises(InfrastructureError, match="the connection failed"):
        make(url="http://127.0.0.1:9/v1").complete(Prompt("Hello"))


@pytest.mark.parametrize("status", [401, 403, 404, 307])
def test_a_wrong_address_or_key_ends_the_step_at_once(make: Make, chat_server: Any, status: int) -> None:
    chat_server.otherwise = chat_server.refuse(status, "no such model", Location="http://127.0.0.1:9/")
    with pytest.raises(InfrastructureError, match="correct `url`, `model` or the key"):
        make().complete(Prompt("Hello"))
    assert len(chat_server.bodies) == 1


def test_no_more_requests_than_configured_are_open(make: Make, chat_server: Any) -> None:
    chat_server.otherwise = chat_server.wait(0.05)
    make(concurrency=3).complete_all([Prompt(str(number)) for number in range(12)])
    assert chat_server.most_active == 3


def test_responses_are_in_the_order_of_the_prompts(make: Make, chat_server: Any) -> None:
    chat_server.otherwise = lambda handler, body: chat_server.answer(body["messages"][0]["content"])(handler, body)
    prompts = [Prompt(str(number)) for number in range(20)]
    assert [response.text for response in make().complete_all(prompts)] == [prompt.text for prompt in prompts]


def test_after_a_failure_the_other_responses_are_in_the_cache(make: Make, chat_server: Any) -> None:
    def behaviour(handler: Any, body: dict[str, Any]) -> None:
        (chat_server.refuse(400) if body["messages"][0]["content"] == "1" else chat_server.answer("fine"))(
            handler, body
        )

    chat_server.otherwise = behaviour
    endpoint = make()
    with pytest.raises(RequestFailed):
        endpoint.complete_all([Prompt(str(number)) for number in range(4)])
    endpoint.close()
    asked = len(chat_server.bodies)
    assert [make().complete(Prompt(number)).text for number in ("0", "2", "3")] == ["fine"] * 3
    assert len(chat_server.bodies) == asked == 4


def test_the_key_comes_from_the_environment(
    make: Make, chat_server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="STEP3VL_TEST_KEY holds no API key"):
        make(api_key_env="STEP3VL_TEST_KEY")
    monkeypatch.setenv("STEP3VL_TEST_KEY", "s3cret")
    make(api_key_env="STEP3VL_TEST_KEY").complete(Prompt("Hello"))
    assert chat_server.headers_seen[0]["Authorization"] == "Bearer s3cret"
    assert b"s3cret" not in b"".join(files(tmp_path / "cache").values())


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("url", "localhost:8000", "is no URL"),
        ("cache", "runs/cache", "is relative"),
        ("options", {"model": "x"}, "options may not set model"),
        ("concurrency", 0, "greater than 0"),
    ],
)
def test_a_wrong_configuration_is_refused(field: str, value: Any, problem: str) -> None:
    fields = {"url": "http://a/v1", "model": "m", "cache": "/c", field: value}
    with pytest.raises(ValidationError, match=problem):
        EndpointConfig.model_validate(fields)


def test_the_price_is_that_of_both_kinds_of_tokens() -> None:
    config = EndpointConfig(url="http://a/v1", model="m", cache="/c", price_in=2.0, price_out=10.0)
    assert config.price(Usage(prompt_tokens=500_000, completion_tokens=100_000)) == pytest.approx(2.0)
