"""vLLM with our plugin serves what the demo exports: other sizes of pictures than the released ones."""

import pytest

QUESTIONS = {
    "no picture": (("What do you see?",), []),
    "one without crops": ((0, "What do you see?"), [(60, 50)]),
    "the long side just fits": ((0, "What do you see?"), [(64, 64)]),
    "one with crops": ((0, "How many are there?"), [(150, 90)]),
    "a strip": ((0, "Read it."), [(100, 20)]),
    "two": ((0, "or", 1, "?"), [(64, 64), (300, 100)]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_the_same_greedy_tokens(demo, asked, name) -> None:
    parts, sizes = QUESTIONS[name]
    demo.agree(asked(*parts), sizes)


def test_a_picture_beyond_the_limits_is_refused_and_the_server_lives_on(demo, asked, photograph) -> None:
    with pytest.raises(AssertionError, match=r'"code":400'):
        demo.theirs(asked(0, "What?"), [photograph(9000, 20)], 1)
    demo.theirs(asked("What?"), [], 1)
