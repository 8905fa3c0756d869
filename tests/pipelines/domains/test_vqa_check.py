"""The independent check of visual questions: it accepts right answers and finds the planted wrong ones."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from step3vl.data.sample import OptionTruth, Sample, TextPart, TextTruth
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.core.inputs import list_pattern
from step3vl.pipelines.core.steps import Dropped, Record, rng_for
from step3vl.pipelines.domains.vqa import AskAboutSamples, FindSamples, VqaEntry
from step3vl.pipelines.domains.vqa_questions.graph_check import check_graph
from step3vl.pipelines.domains.vqa_questions.judging import WriteConversations
from step3vl.pipelines.domains.vqa_questions.label_check import CheckByReading
from step3vl.pipelines.domains.vqa_questions.names_in_questions import names_in
from step3vl.pipelines.domains.vqa_questions.table_check import cells_of, check_table, grid_of, to_number

CSV = 'City,Rain,Sun\nOslo,"1,012.5",4\nLisbon,48,9\nLima,1,7'
MARKDOWN = "| City | Rain | Sun |\n| --- | --- | --- |\n| Oslo | 1,012.5 | 4 |\n| Lisbon | 48 | 9 |\n| Lima | 1 | 7 |"
HTML = (
    "<table><tr><th>City<th>Rain</th><th>Sun</th></tr><tr><td>Oslo</td><td>1,012.5</td><td>4</td></tr>"
    "<tr><td>Lisbon</td><td>48</td><td>9</td></tr><tr><td>Lima</td><td>1</td><td>7</td></tr></table>"
)


@pytest.mark.parametrize("label", [CSV, MARKDOWN, HTML])
def test_the_cells_of_a_label_are_read_from_any_notation(label: str) -> None:
    grid = grid_of(cells_of(label))
    assert grid.labels == ["Oslo", "Lisbon", "Lima"] and grid.series == ["Rain", "Sun"]
    assert grid.numbers["Oslo", "Rain"] == 1012.5 and grid.numbers["Lima", "Sun"] == 7


@pytest.mark.parametrize(
    ("kind", "asked", "right", "wrong"),
    [
        ("value", 'What is "Rain" for "Lisbon"?', "48", "9"),
        ("value", "What is Rain for Oslo?", "1012.5", "48"),
        ("argmax", "Which city has the highest Sun?", "Lisbon", "Lima"),
        ("argmin", "Which city has the lowest Rain?", "Lima", "Oslo"),
        ("second", "Which city comes second in Sun?", "Lima", "Lisbon"),
        ("maximum", "What is the maximum of Sun?", "9", "7"),
        ("minimum", "What is the minimum of Rain?", "1", "48"),
        ("total", "What is the total of Sun?", "20", "21"),
        ("mean", "What is the mean of Rain?", "353.83333333", "353"),
        ("difference", "What is the difference in Sun between Lima and Oslo?", "3", "4"),
        ("compare", "Which has the higher Sun, Lima or Oslo?", "Lima", "Oslo"),
        ("greater", "Is Rain higher for Lima than for Oslo?", "no", "yes"),
        ("count_above", "How many values of Sun are higher than 4.5?", "2", "3"),
        ("reverse", "Which city has a value of 9 for Sun?", "Lisbon", "Oslo"),
        ("row_argmax", "Which column is largest for Lisbon?", "Rain", "Sun"),
        ("entries", "How many cities are listed?", "3", "4"),
        ("absent_label", "What is Rain for Paris?", "It is not shown.", ""),
    ],
)
def test_a_table_is_asked_again(kind: str, asked: str, right: str, wrong: str) -> None:
    grid = grid_of(cells_of(CSV))
    assert check_table(kind, asked, (), right, grid) is None
    if wrong:
        assert check_table(kind, asked, (), wrong, grid) is not None


def test_a_question_that_follows_up_means_the_series_before() -> None:
    grid = grid_of(cells_of(CSV))
    before = ["What is Sun for Oslo?"]
    assert check_table("next_value", "And Lima?", before, "7", grid) is None
    assert check_table("next_value", "And Lima?", before, "1", grid) == "another_number"


def test_a_label_that_is_there_is_not_absent() -> None:
    assert (
        check_table("absent_label", "What is Rain for Lima?", (), "Not shown.", grid_of(cells_of(CSV))) == "is_there"
    )


def test_time_runs_as_the_table_does() -> None:
    grid = grid_of(cells_of("Year,Output\n1999,5\n2000,8"))
    assert check_table("rose", "Is Output higher in 2000 than in 1999?", (), "yes", grid) is None
    assert check_table("rose", "Did Output rise from 1999 to 2000?", (), "no", grid) == "the_opposite"


@pytest.mark.parametrize("label", ["just words", HTML + HTML, HTML.replace("<td>Lisbon", "<td colspan=2>Lisbon")])
def test_what_is_no_plain_table_is_unchecked(label: str) -> None:
    with pytest.raises(Unchecked):
        grid_of(cells_of(label))


@pytest.mark.parametrize(
    ("names", "asked", "cited"),
    [
        (["Sun", "Sun hours"], "What is Sun hours for May?", ["Sun hours"]),
        (["May", "June"], 'What about "June" in a May-be?', ["June"]),
        (["北京", "上海"], "上海和北京，哪个的降水更高？", ["上海", "北京"]),
        (["at", "a"], "What is shown?", []),
        (["图书", "家具"], "“图书馆”是多少？", []),
        (["no", "yes"], 'Is it? Answer "no" or tell why.', ["no"]),
    ],
)
def test_names_are_found_in_the_order_of_a_question(names: Sequence[str], asked: str, cited: list[str]) -> None:
    assert names_in(names, asked) == cited


DIRECTED = "From,To,Label\nStart,Check,\nCheck,Pay,ok\nCheck,Stop,no"
UNDIRECTED = "Node,Node\nA,B\nB,C"


@pytest.mark.parametrize(
    ("label", "kind", "asked", "right", "wrong"),
    [
        (DIRECTED, "edge_count", "How many edges are there?", "3", "4"),
        (DIRECTED, "node_count", "How many nodes have a connection?", "4", "3"),
        (DIRECTED, "successor", "Which node follows Start?", "Check", "Pay"),
        (DIRECTED, "predecessor", "What comes before Pay?", "Check", "Start"),
        (DIRECTED, "linked", "Does Start lead directly to Check?", "yes", "no"),
        (DIRECTED, "linked", "Is Start reached from Check by a single arrow?", "no", "yes"),
        (DIRECTED, "out_degree", "How many arrows start at Check?", "2", "3"),
        (DIRECTED, "edge_label", 'What does the line between "Check" and "Stop" say?', "no", "ok"),
        (UNDIRECTED, "joined", "Are C and B neighbours?", "yes", "no"),
        (UNDIRECTED, "degree", "How many lines meet at B?", "2", "1"),
    ],
)
def test_a_diagram_is_asked_again(label: str, kind: str, asked: str, right: str, wrong: str) -> None:
    assert check_graph(kind, asked, right, label) is None
    assert check_graph(kind, asked, wrong, label) is not None


def _wrong(sample: Sample) -> Sample:
    """The sample with another answer of the same kind."""
    truth, answer = sample.truth, sample.answer()
    if isinstance(truth, OptionTruth):
        other = next(option for option in truth.options if option != truth.option)
        truth, answer = truth.model_copy(update={"option": other}), other.partition(". ")[0]
    elif (number := to_number(answer)) is not None:
        answer = str(number + 1)
    else:
        truth, answer = TextTruth(text="Zanzibar"), "Zanzibar"
    *before, last = sample.messages or ()
    reply = last.model_copy(update={"content": (TextPart(text=answer),)})
    return sample.model_copy(update={"truth": truth, "messages": (*before, reply)})


ENTRY = VqaEntry.model_validate(
    {
        "domain": "vqa",
        "name": "v",
        "datasets": ["data/samples/labelled"],
        "tasks": ["ocr.image_to_code.*"],
        "conversations": 4,
        "turns": [1, 4],
    }
)


def _questions(context: StepContext) -> Iterator[Sample]:
    """What the domain asks about the labelled samples."""
    find, ask, write = FindSamples(ENTRY, context), AskAboutSamples(ENTRY, context), WriteConversations(ENTRY, context)
    ask.setup()
    (source,) = ENTRY.inputs().sources  # type: ignore[union-attr]
    for file in list_pattern(source.files[0], "", entry="v", base=context.base, store=context.store):
        for ref in find.process(Record(file.key, file), rng_for(0)):
            with suppress(Dropped):
                for asked in ask.process(ref, rng_for(0, ref.key)):
                    yield from write.process(asked, rng_for(1))


def _verdict(check: CheckByReading, sample: Sample) -> str:
    try:
        return check(sample) or "right"
    except Unchecked as error:
        return f"unchecked: {error.reason}"


def test_questions_of_the_labelled_samples_pass_and_wrong_answers_do_not(context: StepContext) -> None:
    check = CheckByReading(ENTRY, context)
    samples = [each for each in _questions(context) if each.source.traits["question"] != "absent_label"]
    accepted = Counter(_verdict(check, sample) for sample in samples)
    planted = Counter(_verdict(check, _wrong(sample)) for sample in samples)
    assert accepted["right"] > 50 and accepted["right"] >= 0.9 * accepted.total(), accepted
    assert not [name for name in accepted if name != "right" and not name.startswith("unchecked")], accepted
    assert planted["right"] == 0, planted
