"""Chat answers about a picture, and bad input is one clear line."""

import json
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.errors import UserError
from step3vl.workflows.chat import END_OF_THOUGHT, parted, run_chat

SETTINGS = {"temperature": 1.0, "max_new_tokens": 12, "seed": 3}


@pytest.fixture
def picture(corpus: Path) -> Path:
    return corpus / "contact_sheet.png"


def test_an_answer_goes_to_stdout_and_the_same_seed_repeats_it(model: Path, picture: Path, capsys) -> None:
    said = []
    for _ in range(2):
        run_chat(model, "What is this?", [picture], pacore=0, **SETTINGS)
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].strip()


def test_pacore_shows_each_answer_and_prints_the_synthesis(model: Path, picture: Path, capsys) -> None:
    run_chat(model, "What is this?", [picture], pacore=3, **SETTINGS)
    shown = capsys.readouterr()
    assert shown.out.strip()
    for number in (1, 2, 3):
        assert f"{number}: " in shown.err


def test_a_missing_picture_is_named_before_the_model_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"page\.png: no such picture"):
        run_chat(tmp_path / "no model", "What?", [tmp_path / "page.png"], pacore=0, **SETTINGS)


def test_a_cut_picture_says_what_is_wrong(tmp_path: Path, picture: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(picture.read_bytes()[:90])
    with pytest.raises(UserError, match=r"cut\.png: .*; give a whole JPEG"):
        run_chat(tmp_path, "What?", [cut], pacore=0, **SETTINGS)


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no model folder at .*absent"):
        run_chat(tmp_path / "absent", "What?", [], pacore=0, **SETTINGS)


def test_a_checkpoint_of_another_shape_is_named(model: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model, other)
    config = json.loads((other / "config.json").read_text())
    config["text_config"]["intermediate_size"] *= 2
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"do not fit its config\.json: .* of another shape"):
        run_chat(other, "What?", [], pacore=0, **SETTINGS)


def test_another_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="model_type 'bert'"):
        run_chat(tmp_path, "What?", [], pacore=0, **SETTINGS)


@given(st.text("ab\n", max_size=6), st.text("ab<", max_size=6), st.lists(st.integers(0, 20), max_size=6))
def test_a_reply_is_parted_wherever_its_pieces_are_cut(thought: str, answer: str, cuts: list[int]) -> None:
    reply = thought + END_OF_THOUGHT + answer
    edges = sorted({0, len(reply), *(min(cut, len(reply)) for cut in cuts)})
    pieces = [reply[one:two] for one, two in pairwise(edges)]
    found = list(parted(pieces))
    assert "".join(piece for piece, final in found if not final) == thought
    assert "".join(piece for piece, final in found if final) == answer


@given(st.text("a</think>", max_size=7))
def test_a_reply_without_the_tag_is_all_thought(reply: str) -> None:
    assert "".join(piece for piece, final in parted(list(reply)) if not final) == reply
