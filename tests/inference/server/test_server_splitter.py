"""Parting a reply while it streams gives what parting the whole reply gives."""

from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.tokens import parse_reply, split_answer
from step3vl.inference.splitter import Splitter

PIECES = ["a", "b c", "\n", "<", "</", "think>", "<think>", "</think", "<tool_call", ">", "\n\n", "</tool_call>", "{}"]
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
plain = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def parted(text: str, cuts: list[int], tools: bool = False, stopped: bool = True) -> tuple[str, str]:
    splitter = Splitter(tools)
    places = sorted({min(cut, len(text)) for cut in cuts})
    pieces = []
    for start, end in zip([0, *places], [*places, len(text)], strict=True):
        pieces += splitter.feed(text[start:end])
    pieces += splitter.finish(stopped)
    return tuple("".join(piece.text for piece in pieces if piece.kind == kind) for kind in ("reasoning", "content"))


@given(plain, plain, st.lists(st.integers(0, 60), max_size=12))
def test_a_reply_with_one_end_of_thought(thought, answer, cuts):
    thought, answer = (part.replace("</think>", "").replace("<think>", "") for part in (thought, answer))
    text = f"{thought}</think>{answer}"
    if text.count("</think>") == 1 and not text.startswith("<think>"):
        assert parted(text, cuts) == split_answer(text)


@given(plain, st.lists(st.integers(0, 60), max_size=12))
def test_a_reply_that_ends_by_itself_without_a_thought_is_all_answer(text, cuts):
    if "</think>" not in text:
        assert parted(text, cuts)[1] == split_answer(text)[1]


@given(plain, st.lists(st.integers(0, 60), max_size=12))
def test_a_reply_that_is_cut_within_its_thought_loses_nothing(text, cuts):
    if "</think>" not in text:
        reasoning, content = parted(text, cuts, stopped=False)
        assert content == ""
        assert reasoning == text.removeprefix("<think>").lstrip("\n")


@given(st.sampled_from(["", "Wait.", "Two\n\nlines\n"]), st.integers(0, 2), st.lists(st.integers(0, 200), max_size=20))
def test_calls_are_held_back_whole(answer, count, cuts):
    calls = "\n".join([CALL] * count)
    text = (
        f"thought\n</think>\n{answer}\n<tool_calls>\n{calls}\n</tool_calls>" if count else f"thought</think>{answer}"
    )
    reasoning, content = parted(text, cuts, tools=True)
    assert (reasoning, content) == ("thought", parse_reply(text).answer)
    assert "<tool" not in content


def test_a_call_that_is_not_json_stays_in_the_answer():
    text = "t</think>see <tool_call>oops</tool_call> there"
    assert parted(text, [15, 20], tools=True)[1] == parse_reply(text).answer == text.partition("</think>")[2]


def test_text_comes_as_soon_as_it_is_certain():
    splitter = Splitter(tools=True)
    assert [piece.text for piece in splitter.feed("I think")] == ["I think"]
    assert splitter.feed("\n</thi") == []
    assert [piece.text for piece in splitter.feed("nk>\nYes, ")] == ["Yes, "]
    assert [piece.text for piece in splitter.feed("it is <tool")] == ["it is "]
    assert [piece.text for piece in splitter.feed("s>\n\n")] == ["<tools>"]
