"""Options: by label, by text, or by either; nothing is guessed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import OptionTruth
from step3vl.grading import grade_answer

LABELS = ("A", "B", "C", "D")
LABELLED = ("A. dog", "B. a cat", "C. horse", "D. top left")
CORNERS = ("top left", "top right", "bottom left", "bottom right")


def chosen(options: tuple[str, ...], answer: str) -> str | None:
    """The option that an answer is correct for; None where it is unparsable for all."""
    verdicts = {
        option: grade_answer(OptionTruth(option=option, options=options), answer).verdict for option in options
    }
    correct = [option for option, verdict in verdicts.items() if verdict == "correct"]
    if not correct:
        assert set(verdicts.values()) == {"unparsable"}
        return None
    assert len(correct) == 1 and set(verdicts.values()) <= {"correct", "wrong"}
    return correct[0]


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("B", "B"),
        ("b", "B"),
        ("Ｂ", "B"),
        ("B.", "B"),
        ("(B)", "B"),
        ("B)", "B"),
        ("**B**", "B"),
        ("['B']", "B"),
        ("B. a cat", "B"),
        ("B: a cat", "B"),
        ("B、猫", "B"),
        ("Option B", "B"),
        ("选B", "B"),
        ("故选：C。", "C"),
        ("B选项正确", "B"),
        ("答案是B", "B"),
        ("正确答案为 **C**", "C"),
        ("Answer: B", "B"),
        ("The answer is (C).", "C"),
        ("The correct answer would be:\n(C) a horse", "C"),
        ("The correct choice is: D", "D"),
        (r"\boxed{B}", "B"),
        (r"\boxed{\text{B}} since it is not A", "B"),
        ("<answer>B</answer>", "B"),
        ("<|begin_of_box|>B<|end_of_box|>", "B"),
        ("I think B", "B"),
        ("It is A", "A"),
        ("A is correct", "A"),
        ("The answer is A because it is black.", "A"),
        ("B. a cat. It's not A.", "B"),
        ("A is wrong, B is wrong. Answer: C", "C"),
        ("A. wrong\nB. wrong\nSo it is C", "C"),
        ("The answer is A. On reflection, the answer is B.", "B"),
        # what is named to be rejected
        ("Option A is wrong. Option B is correct.", "B"),
        ("A is wrong, B is right.", "B"),
        ("Option A is incorrect, option B isn't right, option C is ruled out. Thus D", "D"),
        ("It is not option A. It is option B.", "B"),
        ("不选A，选C", "C"),
        ("B is not only possible but certain", "B"),
        ("the answer is (C) cannot be determined.", "C"),
        ("(C) is not a prime", "C"),
        ("The answer is B and A is wrong.", "B"),
        ("Final answer: (C) is incorrect", None),
        ("B is not correct. C is not correct. D is not correct.", None),
        # a copy of the options
        ("A. dog B. a cat C. horse D. top left", None),
        ("(A) dog (B) a cat (C) horse (D) top left", None),
        ("The options:\nA. dog\nB. a cat\nC. horse\nD. top left", None),
        ("A. dog: no\n\nB. a cat: yes\n\nC. horse: no\n\nD. top left: no", None),
        ("Answer: A. dog B. a cat C. horse D. top left", None),
        ("A. dog\nB. a cat\nC. horse\nD. top left\n\nB. a cat", "B"),
        ("A. dog\nB. a cat\nC. horse\nD. top left\nSo it is C", "C"),
        ("Answer: A. dog\n\nB. is no dog.\nC. neither.\nD. nor this.", "A"),
        # articles, pronouns and parts of words are no labels
        ("It's a dog", None),
        ("A dog", None),
        ("Answer: a dog", None),
        ("x-ray, B-cell", None),
        # several, or none of them
        ("A or B", None),
        ("B and C", None),
        ("Both A and B", None),
        ("(A) and (B)", None),
        ("(A)(B)", None),
        ("A B C D", None),
        ("Answer: A | B", None),
        ("Answer: A (or B)", None),
        ("The answer is B, N being too large.", "B"),
        (r"\boxed{A; B}", None),
        (r"\boxed{A\text{ or }B}", None),
        (r"Look at option C first. \boxed{A, B}", None),
        ("Look at option C first. Final answer: A, B", None),
        ("The answer is not A", None),
        ("E", None),
        ("", None),
    ],
)
def test_label(answer: str, label: str | None) -> None:
    assert chosen(LABELS, answer) == label


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("It's a dog", "A. dog"),
        ("A dog", "A. dog"),
        ("Cat", "B. a cat"),
        ("B", "B. a cat"),
        ("B. a cat", "B. a cat"),
        ("The answer is the horse.", "C. horse"),
        ("top-left", "D. top left"),
        ("a dog and a cat", None),
        (r"\boxed{the A and the B, top left}", "D. top left"),
    ],
)
def test_label_or_its_text(answer: str, option: str | None) -> None:
    assert chosen(LABELLED, answer) == option


@pytest.mark.parametrize(
    ("options", "answer", "option"),
    [
        (CORNERS, "The Top Left corner.", "top left"),
        (CORNERS, "top-left", "top left"),
        (CORNERS, "top_left", "top left"),
        (CORNERS, "top left or top right", None),
        (("left", "top left"), "top left", "top left"),
        (("left", "top left"), "left", "left"),
        (("red", "blue"), "bored", None),
        (("red", "blue"), "The answer is red. Not blue.", "red"),
        (("红色", "蓝色"), "答案是红色。", "红色"),
        (("yes", "no"), "Yes, it is", "yes"),
        (("yes", "no"), "yes and no", None),
        (("1", "2", "10"), "10", "10"),
        (("1", "2", "10"), "1.5", None),
        (("5", "-5"), "-5", "-5"),
        (("5", "-5"), "5", "5"),
        (("a", "b"), "a", "a"),
        (("(A) dog", "(B) cat"), "(B)", "(B) cat"),
    ],
)
def test_text(options: tuple[str, ...], answer: str, option: str | None) -> None:
    assert chosen(options, answer) == option


@given(st.sampled_from(LABELLED))
def test_every_option_names_itself(option: str) -> None:
    label, _, text = option.partition(". ")
    for answer in (option, label, text, f"({label})", f"Answer: {label}", f"答案是{label}", f"The answer is {text}."):
        assert chosen(LABELLED, answer) == option
