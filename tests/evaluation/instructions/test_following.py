"""Strict and loose, and the benchmarks that are made of them."""

import gzip
import json

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmarks.ifbench import BENCHMARK as IFBENCH
from step3vl.evaluation.benchmarks.ifeval import BENCHMARK as IFEVAL
from step3vl.evaluation.instructions import follow
from step3vl.evaluation.item import Scored

NO_COMMA = ["punctuation:no_comma"]


def test_loose_forgives_a_first_line_a_last_line_and_asterisks():
    followed = follow("Sure, here it is:\nno comma here", NO_COMMA, [{}])
    assert (all(followed.strict), all(followed.loose)) == (False, True)
    arguments = {"prompt_to_repeat": "none", "n_start": 0, "n_end": 3}
    assert all(follow("**none**", ["repeat:repeat_span"], [arguments]).loose)
    assert not all(follow("a, b\nc, d\ne, f", NO_COMMA, [{}]).loose)


def test_an_empty_response_follows_nothing():
    assert follow("  \n ", NO_COMMA, [{}]) == ((False,), (False,))


def test_unset_arguments_are_left_out():
    assert all(follow("a", NO_COMMA, [{"num_words": None}]).strict)


def test_unknown_instructions_are_the_users_mistake():
    with pytest.raises(UserError, match="'punctuation:no_dots': no such check"):
        follow("a", ["punctuation:no_dots"], [{}])
    with pytest.raises(UserError, match="are the arguments those of the file"):
        follow("a", NO_COMMA, [{"num_words": 3}])


@pytest.fixture
def ifeval_folder(tmp_path):
    sign = {"letter": "#", "let_frequency": 2, "let_relation": "at least"}
    records = [
        {"key": 7, "prompt": "Write. No commas.", "instruction_id_list": NO_COMMA, "kwargs": [{}]},
        {
            "key": 8,
            "prompt": "Two tags, please.",
            "instruction_id_list": ["keywords:letter_frequency", *NO_COMMA],
            "kwargs": [sign, {}],
        },
    ]
    with gzip.open(tmp_path / "input_data.jsonl.gz", "wt") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in records)
    return tmp_path


def test_ifeval_counts_prompts_and_instructions(ifeval_folder):
    items = list(IFEVAL.items(ifeval_folder))
    assert [item.id for item in items] == ["7", "8"]
    scored = [Scored(item, IFEVAL.score(item, "text, with a comma ##")) for item in items]
    metrics = IFEVAL.summarise(scored)
    assert metrics.counts == {
        "prompts": 2, "instructions": 3, "prompts_strict": 0, "instructions_strict": 1, "prompts_loose": 0,
        "instructions_loose": 1,
    }  # fmt: skip
    assert metrics.value == metrics.values["prompt_strict"] == 0
    assert metrics.categories == {"keywords": 100.0, "punctuation": 0.0}
    assert scored[1].score.trace == ("not followed: punctuation:no_comma",)


def test_signs_are_counted_strictly_and_replaced_by_letters_officially(ifeval_folder):
    item = list(IFEVAL.items(ifeval_folder))[1]
    assert IFEVAL.score(item, "##", "strict").value == 1
    assert IFEVAL.score(item, "##", "official").value == 0  # the official code asks for a random letter
    letters = item.fields["letters"]
    assert all(len(letter) == 1 and letter.isalpha() for mode in letters.values() for letter in mode.values())
    assert IFEVAL.score(item, letters["strict"]["0"] * 2, "official").value == 1


def test_recorded_responses_are_found_by_their_prompt(ifeval_folder):
    path = ifeval_folder / "responses.jsonl"
    path.write_text(json.dumps({"prompt": "Write.  No commas.", "response": "fine"}))
    ((item, recorded),) = IFEVAL.recorded(path)
    assert (item.id, recorded.response) == ("7", "fine")
    path.write_text(json.dumps({"prompt": "Another", "response": "fine"}))
    with pytest.raises(UserError, match="the prompt 'Another' is in none of"):
        list(IFEVAL.recorded(path))


def test_ifbench_counts_loosely(tmp_path):
    record = {"key": "1", "prompt": "p", "instruction_id_list": ["format:no_whitespace"], "kwargs": [{"N": None}]}
    (tmp_path / "IFBench_test.jsonl").write_text(json.dumps(record))
    (item,) = IFBENCH.items(tmp_path)
    score = IFBENCH.score(item, "Here you are:\nword")
    assert (score.value, score.details["strict"], score.details["loose"]) == (1.0, [False], [True])
