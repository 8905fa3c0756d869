"""How pages and lines are asked for."""

import random
from typing import get_args

import pytest

from step3vl.pipelines.documents.agreement import has_ideographs
from step3vl.pipelines.documents.markup import FIGURE, FORMULA
from step3vl.pipelines.documents.questions import QUESTIONS, RULES, LabelForm, ask

FORMS = get_args(LabelForm)


@pytest.mark.parametrize("form", FORMS)
def test_there_are_fifty_phrasings_in_two_languages(form: LabelForm) -> None:
    english, chinese = QUESTIONS[form]
    assert len(set(english)) + len(set(chinese)) >= 45 and len(chinese) >= 15
    asked = {ask(form, number % 2 == 0, form != "line", random.Random(number)) for number in range(2000)}
    assert len(asked) >= 50
    for sentence in (*english, *RULES.get(form, ((), ()))[0]):
        assert sentence.isascii() and sentence[0].isupper() and sentence.endswith((".", "?"))
    for sentence in (*chinese, *RULES.get(form, ((), ()))[1]):
        assert has_ideographs(sentence) and sentence.endswith(("。", "？"))


@pytest.mark.parametrize("form", ["markdown", "text"])
def test_the_marks_of_an_answer_are_explained_where_it_has_any(form: LabelForm) -> None:
    for seed in range(100):
        with_marks = ask(form, False, True, random.Random(seed))
        assert FORMULA in with_marks and FIGURE in with_marks
        assert FORMULA not in ask(form, False, False, random.Random(seed))


def test_most_questions_are_in_the_language_of_the_page() -> None:
    for chinese in (False, True):
        asked = [ask("text", chinese, False, random.Random(seed)) for seed in range(400)]
        assert 0.65 < sum(has_ideographs(question) == chinese for question in asked) / 400 < 0.85
