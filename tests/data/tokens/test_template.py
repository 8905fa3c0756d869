"""The chat template as pieces; that it equals the released template is tested with the model."""

from step3vl.data.sample.conversations import conversation
from step3vl.data.sample.parts import text
from step3vl.data.sample.sample import Message
from step3vl.data.tokens.template import Markup, conversation_pieces, document_pieces, last_question


def render(pieces: object) -> list[tuple[str, float]]:
    return [
        (piece.item.token if isinstance(piece.item, Markup) else str(piece.item), piece.weight)
        for piece in pieces  # type: ignore[attr-defined]
    ]


def test_conversation() -> None:
    assert render(conversation_pieces(conversation((text("1+1?"),), "2", reasoning="sum"))) == [
        ("<|im_start|>", 0.0), ("user\n", 0.0), ("1+1?", 0.0), ("<|im_end|>", 0.0), ("\n", 0.0),
        ("<|im_start|>", 0.0), ("assistant\n", 0.0), ("<think>", 0.0), ("\n", 0.0), ("sum\n", 1.0), ("</think>", 1.0),
        ("\n", 1.0), ("2", 1.0), ("<|im_end|>", 1.0), ("\n", 0.0),
    ]  # fmt: skip


def test_document() -> None:
    assert render(document_pieces((text("A page."),))) == [("A page.", 1.0), ("<|endoftext|>", 1.0)]


def test_tool_response_in_a_user_turn_is_not_a_question() -> None:
    question = Message(role="user", content=(text("?"),))
    response = Message(role="user", content=(text("<tool_response>x</tool_response>"),))
    assert last_question([question, response]) == 0
    assert last_question([response]) == -1
