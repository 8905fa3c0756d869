import pytest

from step3vl.data.sample import Kind, Sample, Source, TextTruth
from step3vl.pipelines.core.samples import compose, encode_jpeg, running_text
from step3vl.pipelines.render.style import plain


def make(kind: Kind, reasoning: str = "") -> Sample:
    return compose(
        kind=kind,
        domain="education",
        task="education.sum",
        question="What is 1 + 1?",
        answer="2",
        truth=TextTruth(text="2"),
        source=Source(uri="n/0", licence="CC0-1.0", collected_by="tests"),
        images=[encode_jpeg(plain((8, 8), (0, 0, 0)))],
        reasoning=reasoning,
    )


def test_a_conversation_has_the_answer_as_the_assistants_turn() -> None:
    sample = make("conversation", "One and one is two.")
    assert sample.messages is not None
    assert [message.role for message in sample.messages] == ["user", "assistant"]
    assert [part.type for part in sample.messages[0].content] == ["image", "text"]
    assert sample.messages[1].reasoning_content == "One and one is two."
    assert sample.answer() == "2"


@pytest.mark.parametrize(
    ("reasoning", "expected"),
    [("", "Question: What is 1 + 1? Answer: 2"), ("So.", "Question: What is 1 + 1? So. Answer: 2")],
)
def test_a_document_has_question_and_answer_as_running_text(reasoning: str, expected: str) -> None:
    sample = make("document", reasoning)
    assert [part.type for part in sample.parts()] == ["image", "text"]
    assert sample.parts()[-1].text == expected


def test_several_exchanges_have_a_line_each() -> None:
    assert running_text([("A?", "a"), ("B?", "b")]) == "Question: A? Answer: a\nQuestion: B? Answer: b"
