"""Splitting a streaming reply gives what parsing the complete reply gives."""

from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.tokens import extract_tool_calls, parse_reply, split_answer
from step3vl.inference.client import ReplySplitter

PIECES = ["a", "b c", "\n", "<", "</", "think>", "<think>", "</think", "<tool_call", ">", "\n\n", "</tool_call>", "{}"]
CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
tagged = st.lists(st.sampled_from([*PIECES, CALL, "</think>", "<tool_calls>", "</tool_calls>"]), max_size=12).map(
    "".join
)
plain = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


def split(text: str, cuts: list[int], tools: bool = False) -> tuple[str, str]:
    splitter = ReplySplitter(tools)
    positions = sorted({min(cut, len(text)) for cut in cuts})
    pieces = []
    for start, end in zip([0, *positions], [*positions, len(text)], strict=True):
        pieces += splitter.feed(text[start:end])
    pieces += splitter.finish()
    return tuple("".join(piece.text for piece in pieces if piece.kind == kind) for kind in ("reasoning", "content"))


@given(plain, plain, st.lists(st.integers(0, 60), max_size=12))
def test_a_reply_with_a_single_closing_tag(reasoning, answer, cuts):
    reasoning, answer = (part.replace("</think>", "").replace("<think>", "") for part in (reasoning, answer))
    text = f"{reasoning}</think>{answer}"
    if text.count("</think>") == 1 and not text.startswith("<think>"):
        assert split(text, cuts) == split_answer(text)


@given(plain, st.lists(st.integers(0, 60), max_size=12))
def test_a_reply_without_closed_reasoning_is_all_reasoning(text, cuts):
    if "</think>" not in text:
        reasoning, content = split(text, cuts)
        assert content == ""
        assert reasoning == text.removeprefix("<think>").lstrip("\n")


def test_the_first_closing_tag_ends_the_reasoning():
    assert split("a</think>b</think>c", []) == ("a", "b</think>c")


@given(tagged, st.lists(st.integers(0, 200), max_size=20), st.booleans())
def test_the_pieces_join_to_the_same_texts_however_a_reply_is_cut(text, cuts, tools):
    reasoning, content = split(text, cuts, tools)
    assert (reasoning, content) == split(text, [], tools)
    head, tag, tail = text.removeprefix("<think>").partition("</think>")
    assert reasoning == (head.strip("\n") if tag else head.lstrip("\n"))
    assert content == (extract_tool_calls(tail.strip("\n"))[0] if tools else tail.strip("\n"))


@given(st.sampled_from(["", "Wait.", "Two\n\nlines\n"]), st.integers(0, 2), st.lists(st.integers(0, 200), max_size=20))
def test_tool_calls_are_withheld(answer, count, cuts):
    calls = "\n".join([CALL] * count)
    text = (
        f"reasoning\n</think>\n{answer}\n<tool_calls>\n{calls}\n</tool_calls>"
        if count
        else f"reasoning</think>{answer}"
    )
    reasoning, content = split(text, cuts, tools=True)
    assert (reasoning, content) == ("reasoning", parse_reply(text).answer)
    assert "<tool" not in content


def test_a_call_that_is_not_json_stays_in_the_answer():
    text = "t</think>see <tool_call>oops</tool_call> there"
    assert split(text, [15, 20], tools=True)[1] == parse_reply(text).answer == text.partition("</think>")[2]


def test_text_is_returned_as_soon_as_it_is_certain():
    splitter = ReplySplitter(tools=True)
    assert [piece.text for piece in splitter.feed("I think")] == ["I think"]
    assert splitter.feed("\n</thi") == []
    assert [piece.text for piece in splitter.feed("nk>\nYes, ")] == ["Yes, "]
    assert [piece.text for piece in splitter.feed("it is <tool")] == ["it is "]
    assert [piece.text for piece in splitter.feed("s>\n\n")] == ["<tools>"]
