"""vLLM with our plugin serves the demo's exports, whose image sizes differ from the released ones."""

import pytest

QUESTIONS = {
    "no image": (("What do you see?",), []),
    "one without crops": ((0, "What do you see?"), [(60, 50)]),
    "the long side just fits": ((0, "What do you see?"), [(64, 64)]),
    "one with crops": ((0, "How many are there?"), [(150, 90)]),
    "a strip": ((0, "Read it."), [(100, 20)]),
    "two": ((0, "or", 1, "?"), [(64, 64), (300, 100)]),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_greedy_tokens_are_equal(demo, user_message, name) -> None:
    parts, sizes = QUESTIONS[name]
    demo.agree(user_message(*parts), sizes)


def test_an_image_beyond_the_limits_is_refused(demo, user_message, photograph) -> None:
    with pytest.raises(AssertionError, match=r'"code":400'):
        demo.theirs(user_message(0, "What?"), [photograph(9000, 20)], 1)
    demo.theirs(user_message("What?"), [], 1)
