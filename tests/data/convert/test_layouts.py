"""The layouts of rows and turns that public data sets have, each read as it is meant."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from step3vl.data.convert import RecordDefaults, detect_format
from step3vl.data.convert.record_source import read_records
from step3vl.data.dataset.ledger import DeadLetter
from step3vl.data.errors import UserError
from step3vl.data.sample.parts import image, text
from step3vl.data.sample.sample import Sample
from step3vl.data.sample.truth import BoxTruth, OptionTruth, TextTruth

Reader = Callable[..., Sample | DeadLetter]


@pytest.fixture
def read(folder: Path) -> Reader:
    """read(record, format): what a record becomes, whose images are in `folder`."""

    def read(record: dict, format_name: str = "huggingface", **defaults: Any) -> Sample | DeadLetter:
        (folder / "data.jsonl").write_text(json.dumps(record))
        (item,) = read_records(folder / "data.jsonl", format_name, RecordDefaults(**defaults))
        return item

    return read


def said_by(item: Sample | DeadLetter) -> list[tuple[str, str]]:
    """The role and text of each turn, with `[I]` for an image."""
    assert isinstance(item, Sample) and item.messages is not None, item
    return [
        (message.role, "".join(part.text if part.type == "text" else "[I]" for part in message.content))
        for message in item.messages
    ]


def content_of(item: Sample | DeadLetter) -> str:
    assert isinstance(item, Sample) and item.content is not None, item
    return "".join(part.text if part.type == "text" else "[I]" for part in item.content)


def reason_of(item: Sample | DeadLetter) -> str:
    assert isinstance(item, DeadLetter), item
    return item.reason


def test_alpaca(read: Reader) -> None:
    record = {"instruction": "Fruit?", "input": "A carrot.", "output": "No.", "system": "Be brief.", "history": []}
    assert said_by(read(record, "alpaca")) == [
        ("system", "Be brief."), ("user", "Fruit?\nA carrot."), ("assistant", "No."),
    ]  # fmt: skip
    item = read({**record, "history": [["Hi", "Hello."]], "input": ""}, "alpaca")
    assert said_by(item)[1:] == [("user", "Hi"), ("assistant", "Hello."), ("user", "Fruit?"), ("assistant", "No.")]
    assert isinstance(item, Sample) and item.messages and item.truth is None
    assert [message.loss_weight for message in item.messages] == [None, None, 1.0, None, None]


def test_a_question_shows_images_where_it_says_so(read: Reader) -> None:
    row = {"images": ["a/1.png", "a/1.png"], "problem": "Is <image> like <image>?", "answer": "Yes"}
    assert said_by(read(row))[0] == ("user", "Is [I] like [I]?")
    assert said_by(read({**row, "problem": "Alike?"}))[0] == ("user", "[I][I]Alike?")
    assert "show more images, but it has 2" in reason_of(read({**row, "problem": "<image><image><image>"}))


def test_numbered_images_and_options_as_in_mmmu(read: Reader) -> None:
    row = {
        "id": "v_1", "question": "Compare <image 2> with <image 1>.", "options": "['$6', 'like <image 1>']",
        "answer": "B", "image_1": "a/1.png", "image_2": "a/1.png", "image_3": None,
    }  # fmt: skip
    item = read(row)
    question = "Compare [I] with [I].\nA. $6\nB. like [I]\nAnswer with the letter of the correct option."
    assert said_by(item) == [("user", question), ("assistant", "B")]
    assert isinstance(item, Sample) and item.truth == OptionTruth(
        option="B. like <image 1>", options=("A. $6", "B. like <image 1>")
    )
    opened = read({**row, "options": "[]", "answer": "['6', 'six']", "question": "How much? <image 1><image 2>"})
    assert said_by(opened) == [("user", "How much? [I][I]"), ("assistant", "6")]


@pytest.mark.parametrize(
    ("options", "answer", "letter"),
    [
        (["c", "D", "b", "a"], "1", "B"),  # AI2D: an index from 0 in a text
        (["x", "y"], 1, "B"),  # ScienceQA: an index
        (["x", "y"], "y", "B"),
        (["x", "y"], "(A)", "A"),
        ({"text": ["x", "y"], "label": ["A", "B"]}, "B", "B"),  # ARC
        ('["x", "y"]', "A", "A"),
    ],
)
def test_the_answer_is_an_option(options: object, answer: object, letter: str, read: Reader) -> None:
    item = read({"question": "?", "choices": options, "answer": answer, "hint": "Look."})
    assert said_by(item)[-1] == ("assistant", letter) and said_by(item)[0][1].startswith("Look.\n?\nA. ")
    assert isinstance(item, Sample) and isinstance(item.truth, OptionTruth)
    assert item.truth.option.startswith(f"{letter}. ")


@pytest.mark.parametrize(
    ("options", "answer", "reason"),
    [
        (["1", "2", "3"], "1", "may name more than one"),
        (["x", "y"], "z", "names none"),
        (["x", "y"], 2, "names none"),
        (["x", "y"], True, "neither a letter"),
        (["x"], "A", "not a list of 2"),
        ({"text": ["x", "y"], "label": ["1", "2"]}, "1", "labelled otherwise"),
    ],
)
def test_an_answer_that_is_no_option_is_a_dead_letter(
    options: object, answer: object, reason: str, read: Reader
) -> None:
    assert reason in reason_of(read({"question": "?", "options": options, "answer": answer}))


def test_options_in_columns_as_in_mmbench(read: Reader) -> None:
    item = read({"question": "?", "A": "x", "B": "y", "C": None, "answer": "B", "image": "a/1.png"})
    assert said_by(item)[0] == ("user", "[I]?\nA. x\nB. y\nAnswer with the letter of the correct option.")


@pytest.mark.parametrize("name", ["Human", "USER", "prompter"])
@pytest.mark.parametrize("answerer", ["Assistant", "chatgpt", "GPT", "model", "bing"])
def test_roles_in_any_case_and_of_other_makers(name: str, answerer: str, read: Reader) -> None:
    turns = [{"from": name, "value": "Hi"}, {"from": answerer, "value": "Hello."}]
    assert said_by(read({"conversations": turns}, "sharegpt")) == [("user", "Hi"), ("assistant", "Hello.")]
    turns = [{"role": name, "content": "Hi"}, {"role": answerer, "content": "Hello."}]
    assert said_by(read({"messages": turns}, "openai")) == [("user", "Hi"), ("assistant", "Hello.")]


@pytest.mark.parametrize(
    ("record", "format_name"),
    [
        ({"question": "q", "answer": "<think>a</think>b"}, "huggingface"),
        ({"question": "q", "answer": "b", "reasoning": "a"}, "huggingface"),
        ({"messages": [{"role": "user", "content": "q"},
                       {"role": "assistant", "content": "\n<think>\na\n</think>\n\nb"}]}, "openai"),
        ({"messages": [{"role": "user", "content": "q"},
                       {"role": "assistant", "content": [{"type": "text", "text": "<think>a</think>b"}]}]}, "openai"),
        ({"messages": [{"role": "user", "content": "q"},
                       {"role": "assistant", "content": "<think>a</think>b", "reasoning_content": "a"}]}, "openai"),
        ({"conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "<think>a</think>b"}]},
         "step"),
    ],
)  # fmt: skip
def test_an_answer_may_begin_with_its_reasoning(record: dict, format_name: str, read: Reader) -> None:
    item = read(record, format_name)
    assert isinstance(item, Sample) and item.messages
    assert (item.messages[-1].reasoning_content, item.answer()) == ("a", "b")
    assert item.truth in (None, TextTruth(text="b"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"content": "<think>a</think>b", "reasoning_content": "c"}, "begins with other reasoning"),
        ({"content": "<think>a"}, "never closes it"),
        ({"content": ""}, "turn 2, of the assistant, is empty"),
        ({"content": " \n"}, "turn 2, of the assistant, is empty"),
        ({"content": None}, "turn 2, of the assistant, is empty"),
    ],
)
def test_an_answer_of_which_nothing_good_is_learned_is_a_dead_letter(answer: dict, reason: str, read: Reader) -> None:
    record = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", **answer}]}
    assert reason in reason_of(read(record, "openai"))


def test_calls_and_refusals_are_read(read: Reader) -> None:
    question = {"role": "user", "content": "q"}
    call = {"name": "f", "arguments": '{"a": 1}'}
    item = read({"messages": [question, {"role": "assistant", "content": None, "function_call": call}]}, "openai")
    assert isinstance(item, Sample) and item.messages and item.messages[-1].tool_calls[0].arguments == {"a": 1}
    item = read({"messages": [question, {"role": "assistant", "content": None, "refusal": "I cannot."}]}, "openai")
    assert isinstance(item, Sample) and item.answer() == "I cannot."
    typed = [{"role": "user", "content": [{"type": "input_text", "text": "q"}]},
             {"role": "assistant", "content": [{"type": "output_text", "text": "a"}]}]  # fmt: skip
    assert said_by(read({"messages": typed}, "openai")) == [("user", "q"), ("assistant", "a")]


def test_images_of_a_message_by_their_index(folder: Path, encoded: Callable[..., bytes]) -> None:
    parts = [{"type": "image", "text": None, "index": 1}, {"type": "text", "text": "then", "index": None},
             {"type": "image", "text": None, "index": 0}]  # fmt: skip
    answer = [{"type": "text", "text": "a", "index": None}]
    row = {
        "messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}],
        "images": [{"bytes": encoded(number), "path": None} for number in (5, 6)],
    }
    pq.write_table(pa.Table.from_pylist([row]), folder / "rows.parquet")
    (item,) = read_records(folder / "rows.parquet", "huggingface", RecordDefaults())
    assert isinstance(item, Sample) and [part.read() for part in item.images] == [encoded(6), encoded(5)]


def test_interleaved_documents(read: Reader) -> None:
    obelics = {"texts": ["One.", None, "Two.", "Three."], "images": [None, "a/1.png", None, None], "metadata": "[]"}
    assert content_of(read(obelics)) == "One.[I]Two.\n\nThree."
    assert "not aligned" in reason_of(read({**obelics, "images": ["a/1.png"]}))
    assert "position 0 has both" in reason_of(read({**obelics, "images": ["a/1.png"] * 4}))
    mmc4 = {
        "text_list": ["One.", "Two."],
        "image_info": [{"image_name": "a/1.png", "raw_url": "https://e.org/1.png", "matched_text_index": 1}],
        "similarity_matrix": [[0.1, 0.3]], "url": "https://e.org",
    }  # fmt: skip
    assert content_of(read(mmc4)) == "One.[I]Two."
    assert content_of(read({**mmc4, "image_info": []})) == "One. Two."


PAIRS: dict[str, dict] = {
    "texts of TRL": {"prompt": "q", "chosen": "good", "rejected": "bad"},
    "messages of TRL": {
        "prompt": [{"role": "user", "content": "q"}],
        "chosen": [{"role": "assistant", "content": "good"}],
        "rejected": [{"role": "assistant", "content": "bad"}],
    },
    "UltraFeedback": {
        "prompt": "q",
        "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
        "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "bad"}],
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
        "score_chosen": 7.0,
    },
    "OpenAI": {
        "input": {"messages": [{"role": "user", "content": "q"}], "tools": []},
        "preferred_output": [{"role": "assistant", "content": "good"}],
        "non_preferred_output": [{"role": "assistant", "content": "bad"}],
    },
    "LLaMA-Factory": {
        "conversations": [{"from": "human", "value": "q"}],
        "chosen": {"from": "gpt", "value": "good"},
        "rejected": {"from": "gpt", "value": "bad"},
    },
    "alpaca": {"instruction": "q", "input": "", "chosen": "good", "rejected": "bad"},
    "ms-swift": {
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "good"}],
        "rejected_response": "bad",
    },
}


@pytest.mark.parametrize("maker", PAIRS)
def test_a_pair_of_answers_is_a_preference(maker: str, read: Reader) -> None:
    item = read(PAIRS[maker])
    assert said_by(item) == [("user", "q"), ("assistant", "good")]
    assert isinstance(item, Sample) and item.kind == "preference" and item.version == 2
    assert item.rejected and item.rejected.content == (text("bad"),)


def test_a_preference_about_an_image(read: Reader) -> None:
    item = read({"images": ["a/1.png"], "prompt": "q", "chosen": "good", "rejected": "bad"})
    assert said_by(item)[0] == ("user", "[I]q")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rejected": "good"}, "is the same as the one that was chosen"),
        ({"chosen": [], "rejected": []}, "its chosen answer is empty"),
        ({"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "differ before"),
    ],
)
def test_a_pair_that_is_none_is_a_dead_letter(changes: dict, reason: str, read: Reader) -> None:
    assert reason in reason_of(read({**PAIRS["texts of TRL"], **changes}))


def grounded(objects: object, question: str = "<image>Find <ref-object>", answer: str = "<bbox>") -> dict:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": turns, "images": ["a/1.png"], "objects": objects}  # of 9 x 8 pixels


def test_grounding_tags_of_swift(read: Reader) -> None:
    item = read(grounded({"ref": ["sheep"], "bbox": [[0.9, 2, 4.5, 8]]}), "openai")
    assert said_by(item) == [("user", "[I]Find sheep"), ("assistant", '{"bbox_2d": [100, 250, 500, 1000]}')]
    assert isinstance(item, Sample) and item.truth == BoxTruth(boxes=((100, 250, 500, 1000),))
    pair = {"ref": ["a", "b"], "bbox": [[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]], "bbox_type": "norm1"}
    item = read(grounded(pair, "<image><ref-object>, <ref-object>", "<bbox><bbox>"), "openai")
    assert said_by(item)[1][1] == '[{"bbox_2d": [0, 0, 500, 500]}, {"bbox_2d": [500, 500, 1000, 1000]}]'
    points = {"ref": ["a"], "bbox": [[4.5, 4]], "point": [[9, 8]]}
    item = read(grounded(points, answer="<bbox> and <point>"), "openai")
    assert said_by(item)[1][1] == '{"point_2d": [500, 500]} and {"point_2d": [1000, 1000]}'
    assert isinstance(item, Sample) and item.truth is None


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ({"ref": ["a"], "bbox": []}, "more tags than it has objects.bbox"),
        ({"ref": ["a", "b"], "bbox": [[0, 0, 1, 1]]}, "1 of its objects.ref have no tag"),
        ({"ref": ["a"], "bbox": [[0, 0, 1, 20]]}, "outside of its image of 9 x 8 pixels"),
        ({"ref": ["a"], "bbox": [[0, 0, 1]]}, "4 numbers are expected"),
        ({"ref": ["a"], "bbox": [[0, 0, 1, 1]], "image_id": [3]}, "name image 3"),
        ({"ref": ["a"], "bbox": [[0, 0, 1, 1]], "bbox_type": "furlongs"}, "its bbox_type is 'furlongs'"),
        ([1], "objects is list"),
    ],
)
def test_objects_that_do_not_fit_are_a_dead_letter(objects: object, reason: str, read: Reader) -> None:
    assert reason in reason_of(read(grounded(objects), "openai"))


def test_the_format_is_detected(folder: Path, read: Reader) -> None:
    records = {
        "llava": {"image": "a/1.png", "conversations": [{"from": "human", "value": "q"}]},
        "sharegpt": {"conversations": [{"from": "human", "value": "q"}]},
        "openai": {"messages": []},
        "step": {"conversations": [{"role": "user", "content": "q"}]},
        "alpaca": {"instruction": "q", "output": "a"},
        "huggingface": {"prompt": "q", "completion": "a"},
    }
    for name, record in records.items():
        read(record, "openai")
        assert detect_format(folder / "data.jsonl") == name
    with pytest.raises(UserError, match="no such file"):
        detect_format(folder / "nowhere")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "data.jsonl has no record"),
        ("[]", "data.jsonl has no record"),
        ("not json\n", "can be read: Expecting value"),
        (
            json.dumps({"data": [{"question": "q", "answer": "a"}]}, indent=1),
            "JSON is an array of records, or has one",
        ),
        ("3", "it is int, not an object"),
    ],
)
def test_why_no_format_is_detected(content: str, reason: str, folder: Path) -> None:
    (folder / "data.jsonl").write_text(content)
    with pytest.raises(UserError, match=reason):
        detect_format(folder)


def test_the_tables_beside_tars_are_not_the_data(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("00000.tar", "00000.parquet", "00000_stats.json"):  # as img2dataset names them
        (tmp_path / name).touch()
    assert detect_format(tmp_path) == "webdataset" and not caplog.text
    (tmp_path / "00000.tar").rename(tmp_path / "images.tar")
    assert detect_format(tmp_path) == "huggingface"
    assert "files of other formats are not read: 1, such as images.tar" in caplog.text


def test_prompt_and_completion(read: Reader) -> None:
    assert said_by(read({"prompt": "q", "completion": "a"})) == [("user", "q"), ("assistant", "a")]
    item = read({"text": "A page.", "images": ["a/1.png"]})
    assert isinstance(item, Sample) and item.content == (image(0), text("A page."))


def test_a_completion_of_messages_is_trained_alone(read: Reader) -> None:
    prompt = [{"role": role, "content": role} for role in ("user", "assistant", "user")]
    item = read({"prompt": prompt, "completion": [{"role": "assistant", "content": "a"}]})
    assert [content for _, content in said_by(item)] == ["user", "assistant", "user", "a"]
    assert isinstance(item, Sample) and item.messages
    assert [message.loss_weight for message in item.messages] == [None, 0.0, None, None]


def test_a_solution_is_said_and_its_answer_is_the_truth(read: Reader) -> None:
    item = read({"problem": "1 + 1?", "solution": "One more than 1 is 2.", "answer": 2})
    assert said_by(item)[-1] == ("assistant", "One more than 1 is 2.")
    assert isinstance(item, Sample) and item.truth == TextTruth(text="2")
    assert said_by(read({"problem": "1 + 1?", "answer": 2}))[-1] == ("assistant", "2")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "q", "answer": None}, "a question without an answer"),
        ({"question": "q", "answer": True}, "neither a text nor a number"),
        ({"question": "q", "caption": "c"}, "its field question would be lost"),
        ({"problem": "q", "text": "c"}, "its field problem would be lost"),
    ],
)
def test_a_question_is_answered_or_a_dead_letter(row: dict, reason: str, read: Reader) -> None:
    assert reason in reason_of(read(row))
