"""Recaptions and judgements: prompts, responses, and what is made of them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.data.sample import Image
from step3vl.pipelines.core.steps import Dropped
from step3vl.pipelines.models.endpoint import EndpointConfig, RequestFailed, Usage
from step3vl.pipelines.models.judge import ANSWER_PROMPT, CAPTION_PROMPT, Judge, JudgeConfig, Judgement, read_verdict
from step3vl.pipelines.models.prompts import check_template, fill
from step3vl.pipelines.models.recaption import RecaptionConfig, Recaptioner


@pytest.fixture
def endpoint(chat_server: Any, tmp_path: Path) -> EndpointConfig:
    return EndpointConfig(
        url=chat_server.url, model="m", cache=str(tmp_path), attempts=1, backoff=0, price_in=1.0, price_out=5.0
    )


def test_a_recaption_keeps_what_came_with_the_image(endpoint: EndpointConfig, chat_server: Any, grey: Image) -> None:
    chat_server.otherwise = chat_server.answer("<think>square, grey</think>\nA small grey rectangle on nothing.")
    (recaption,) = Recaptioner(RecaptionConfig(endpoint=endpoint))([(grey, "{text} IMG_0042")])
    assert recaption.text == recaption.result == "A small grey rectangle on nothing."
    assert (recaption.original, recaption.model) == ("{text} IMG_0042", "judge-1")
    assert recaption.usage == Usage(prompt_tokens=100, completion_tokens=10)
    assert recaption.price == pytest.approx((100 * 1 + 10 * 5) / 1e6)
    asked = chat_server.bodies[0]["messages"][0]["content"][1]["text"]
    assert asked.endswith("Text: {text} IMG_0042")


def test_an_appended_recaption_follows_the_old_text(endpoint: EndpointConfig, chat_server: Any, grey: Image) -> None:
    chat_server.otherwise = chat_server.answer("A small grey rectangle.")
    config = RecaptionConfig(endpoint=endpoint, mode="append", prompt="Describe it.")
    with_text, without = Recaptioner(config)([(grey, "old "), (grey, "")])
    assert with_text.result == "old\nA small grey rectangle." and without.result == "A small grey rectangle."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I'm sorry, but I can't help with that image.", "recaption_refused"),
        ("抱歉，我无法描述这张图片。它超出了我的能力范围。", "recaption_refused"),
        ("Grey.", "recaption_length"),
    ],
)
def test_refusals_and_odd_lengths_are_dropped(
    endpoint: EndpointConfig, chat_server: Any, grey: Image, text: str, reason: str
) -> None:
    chat_server.otherwise = chat_server.answer(text)
    with pytest.raises(Dropped) as dropped:
        Recaptioner(RecaptionConfig(endpoint=endpoint))([(grey, "x")])
    assert dropped.value.reason == reason


@pytest.mark.parametrize(
    ("text", "score", "reason"),
    [
        ('{"reason": "fits", "score": 0.75}', 0.75, "fits"),
        ('```json\n{"reason": "has {braces}", "score": 1}\n```', 1.0, "has {braces}"),
        ('<think>{"score": 0}</think>{"reason": "", "verdict": "Correct."}', 1.0, ""),
        ('First {"a": 1}. Then {"verdict": "incorrect", "reason": "no"}', 0.0, "no"),
        ('{"verdict": false}', 0.0, ""),
        ('{"verdict": "正确", "reason": "对"}', 1.0, "对"),
        ('{"verdict": "correct", "reason": "fits", "details": {"colour": 1}}', 1.0, "fits"),
    ],
)
def test_a_score_or_a_verdict_is_read(text: str, score: float, reason: str) -> None:
    assert read_verdict(text) == (score, reason)


@pytest.mark.parametrize(
    "text",
    ["", "fine", "0.8", '{"score": 7}', '{"score": "high"}', '{"verdict": "maybe"}', '{"score": true}', '{"score"'],
)
def test_a_response_without_a_score_is_no_judgement(text: str) -> None:
    with pytest.raises(RequestFailed, match="gives no score"):
        read_verdict(text)


@given(st.text())
def test_no_response_breaks_the_reading(text: str) -> None:
    try:
        score, _ = read_verdict(text)
    except RequestFailed:
        return
    assert 0 <= score <= 1


def test_a_judge_scores_each_answer(endpoint: EndpointConfig, chat_server: Any, grey: Image) -> None:
    def behaviour(handler: Any, body: dict[str, Any]) -> None:
        asked = body["messages"][0]["content"][1]["text"]
        verdict = "correct" if asked.endswith("grey") else "incorrect"
        chat_server.answer(f'{{"reason": "seen", "verdict": "{verdict}"}}')(handler, body)

    chat_server.otherwise = behaviour
    config = JudgeConfig(endpoint=endpoint)
    judge = Judge(config, ANSWER_PROMPT, ("question", "answer"))
    items = [((grey,), {"question": "Which colour?", "answer": colour}) for colour in ("grey", "red")]
    right, wrong = judge(items)
    assert (right.score, right.reason, wrong.score) == (1.0, "seen", 0.0)
    right.require(config)
    with pytest.raises(Dropped, match="low_judge_score"):
        wrong.require(config)


def test_a_prompt_with_an_unknown_name_is_refused(endpoint: EndpointConfig) -> None:
    with pytest.raises(UserError, match=r"the prompt uses \{caption\}; it may use \{text\}"):
        Recaptioner(RecaptionConfig(endpoint=endpoint, prompt="Improve {caption}"))
    with pytest.raises(UserError, match=r"judge: the prompt uses \{text\}"):
        Judge(JudgeConfig(endpoint=endpoint, prompt="{text}"), ANSWER_PROMPT, ("question",))


@pytest.mark.parametrize(("prompt", "fields"), [(CAPTION_PROMPT, ("text",)), (ANSWER_PROMPT, ("question", "answer"))])
def test_our_own_prompts_are_valid(prompt: str, fields: tuple[str, ...]) -> None:
    check_template(prompt, fields, "judge")
    assert all(f"<{name}>" in fill(prompt, {name: f"<{name}>" for name in fields}) for name in fields)
    assert Judgement(score=1, reason="", model="m").usage == Usage()
