"""Filters on image, question and answer: by words, by a server of chat completions, and by a model's cosines."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from step3vl.pipelines.curation.filters.alignment import (
    IMAGE_TEXT,
    AnswerabilityFilter,
    ImageTextFilter,
    VisualDependencyFilter,
)
from step3vl.pipelines.curation.filters.rollouts import PASS_RATE, SOLUTION_TOKENS, RolloutsFilter
from step3vl.pipelines.curation.filters.rules import FilterSet
from step3vl.pipelines.curation.filters.view import Filter, SampleView
from step3vl.pipelines.models.endpoint import EndpointConfig
from step3vl.pipelines.models.judge import JudgeConfig

IMAGE = PILImage.new("RGB", (40, 30), "red")


def turn(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": text}]}


def ask(question: str, answer: str, images: int = 1, **row: Any) -> SampleView:
    content = {
        "messages": [turn("user", question), turn("assistant", answer)],
        "images": [{"width": 40, "height": 30}] * images,
        "source": {"uri": "https://a.example/red-square_01.png"},
    }
    return SampleView({**content, **row}, [IMAGE] * images)


def reason(filter: Filter, sample: SampleView) -> str:
    finding = filter.find(sample)
    return finding.reason if finding else ""


@pytest.mark.parametrize(
    ("question", "answer", "images", "expected"),
    [
        ("What colour is the red car?", "Red", 1, "answer_in_question"),
        ("图中红色汽车是什么颜色?", "蓝色", 1, ""),
        ("Is the cat black or white?", "White", 1, ""),  # a choice
        ("Which is it?\nA. red\nB. blue", "red", 1, ""),
        ("How many cars are there?", "Three", 1, ""),
        ("What colour is the red car?", "Red", 0, ""),  # of no image
    ],
)
def test_answers_that_stand_in_their_question(question: str, answer: str, images: int, expected: str) -> None:
    assert reason(VisualDependencyFilter(), ask(question, answer, images)) == expected


@pytest.mark.parametrize(
    ("question", "images", "expected"),
    [
        ("What is shown in the figure?", 0, "without_image"),
        ("如图所示,求角度。", 0, "without_image"),
        ("What is shown in the figure?", 1, ""),
        ("Which of the following is a mammal?", 1, "without_options"),
        ("Which of the following is a mammal?\nA. cat\nB. carp", 1, ""),
        ("What is 2 + 2?", 0, ""),
    ],
)
def test_questions_that_nothing_answers(question: str, images: int, expected: str) -> None:
    assert reason(AnswerabilityFilter(), ask(question, "x", images)) == expected


def endpoint(server: Any, tmp_path: Path) -> EndpointConfig:
    return EndpointConfig(url=server.url, model="m", cache=str(tmp_path / "cache"))


def test_a_text_model_that_knows_the_answer_shows_that_no_image_is_needed(chat_server: Any, tmp_path: Path) -> None:
    filter = VisualDependencyFilter(endpoint=endpoint(chat_server, tmp_path))
    truth = {"kind": "text", "text": "Paris"}
    chat_server.script = [chat_server.answer("Paris"), chat_server.answer("I do not know.")]
    finding = filter.find(ask("What is the capital of France?", "Paris", truth=truth))
    assert finding is not None
    assert (finding.reason, finding.value, finding.detail) == ("answered_without_image", 1.0, "Paris")
    assert filter.find(ask("Which city is shown?", "Paris", truth=truth)) is None
    assert filter.find(ask("Which city?", "Paris")) is None  # nothing grades it
    assert len(chat_server.bodies) == 2
    assert "image" not in json.dumps(chat_server.bodies)


def test_a_judge_that_sees_the_image_says_what_can_be_answered(chat_server: Any, tmp_path: Path) -> None:
    filter = AnswerabilityFilter(judge=JudgeConfig(endpoint=endpoint(chat_server, tmp_path)))
    assert FilterSet(answerability=filter).needs_images
    assert not FilterSet(answerability=AnswerabilityFilter()).needs_images
    chat_server.script = [
        chat_server.answer('{"score": 0.1, "reason": "no dog is there"}'),
        chat_server.answer('{"score": 1, "reason": "a square"}'),
    ]
    finding = filter.find(ask("What breed is the dog?", "A pug"))
    assert finding is not None
    assert (finding.reason, finding.value, finding.limit, finding.detail) == (
        *("unanswerable", 0.1, 0.5, "no dog is there"),
    )
    assert filter.find(ask("What is it?", "A square")) is None
    assert "image_url" in json.dumps(chat_server.bodies[0])


def test_captions_without_words_about_their_image() -> None:
    filter = ImageTextFilter()
    good = ask("Describe it.", "Photo: a red square on a white wall in the morning")
    assert filter.find(good) is None
    assert good.scores[IMAGE_TEXT] >= 0.3
    assert reason(filter, ask("Describe it.", "ok")) == "unrelated_text"
    assert filter.find(ask("Describe it.", "ok", images=2)) is None


@pytest.mark.slow
def test_captions_by_the_cosine_of_a_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    from tests.pipelines.models.test_clip import folder as clip_folder

    folder = clip_folder.__wrapped__(tmp_path_factory)  # the fixture's function
    scorer = {"kind": "clip", "folder": str(folder), "min_similarity": -1}
    sample = ask("Describe it.", "a red square")
    assert ImageTextFilter.model_validate({"scorer": scorer}).find(sample) is None
    value = sample.scores[IMAGE_TEXT]
    strict = ImageTextFilter.model_validate({"scorer": {**scorer, "min_similarity": min(1.0, value + 0.01)}})
    finding = strict.find(ask("Describe it.", "a red square"))
    assert finding is not None
    assert (finding.reason, finding.detail) == ("unrelated_text", "clip")


def test_rollouts_say_how_hard_a_sample_is_and_drop_those_that_are_never_solved(
    chat_server: Any, tmp_path: Path
) -> None:
    def reply(handler: Any, body: dict[str, Any]) -> None:
        text = {0: "<think>hm</think>Red", 1: "blue", 2: "RED", 3: ""}[body["seed"]]
        chat_server.answer(text)(handler, body)

    chat_server.otherwise = reply
    filter = RolloutsFilter(endpoint=endpoint(chat_server, tmp_path), samples=4)
    question = turn("user", "Which colour?")
    question["content"].insert(0, {"type": "image", "image": 0})
    asked = {"messages": [question, turn("assistant", "red")]}
    hard = ask("", "", truth={"kind": "text", "text": "red"}, **asked)
    assert filter.find(hard) is None
    assert hard.scores[PASS_RATE] == 0.5
    assert hard.scores[SOLUTION_TOKENS] == 10
    unsolved = ask("", "", truth={"kind": "text", "text": "green"}, **asked)
    assert filter.find(unsolved) == ("unsolved", 0.0, 0.25, "Red")
    assert unsolved.scores == {PASS_RATE: 0.0}
    assert len(chat_server.bodies) == 4, "another truth, and the same rollouts from the cache"
    assert [part["type"] for part in chat_server.bodies[0]["messages"][0]["content"]] == ["image_url", "text"]
    unverifiable = ask("Which colour?", "red")
    assert (filter.find(unverifiable), unverifiable.scores) == (None, {})


def test_a_rollout_that_is_cut_is_not_right(chat_server: Any, tmp_path: Path) -> None:
    chat_server.otherwise = chat_server.answer("red", "length")
    filter = RolloutsFilter(endpoint=endpoint(chat_server, tmp_path), samples=2, solved=0)
    sample = ask("Which colour?", "red", images=0, truth={"kind": "text", "text": "red"})
    assert filter.find(sample) is None
    assert sample.scores == {PASS_RATE: 0.0}


def test_more_right_rollouts_than_there_are_cannot_be_asked_for(chat_server: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 of 2 rollouts can never be right"):
        RolloutsFilter(endpoint=endpoint(chat_server, tmp_path), samples=2, solved=3)
