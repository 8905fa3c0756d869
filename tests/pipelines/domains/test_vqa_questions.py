"""Questions about tables, graphs, texts and scenes: right by two ways, in many words, and graded as they should be."""

import random
from collections import Counter
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from step3vl.data.sample import Box, OptionTruth
from step3vl.grading import grade_answer
from step3vl.pipelines.domains.vqa_questions.conversations import Asker, converse
from step3vl.pipelines.domains.vqa_questions.frames import ABSENT, FRAMES, IMPERATIVE_FRAMES
from step3vl.pipelines.domains.vqa_questions.graphs import GraphQuestions
from step3vl.pipelines.domains.vqa_questions.scenes import SceneQuestions
from step3vl.pipelines.domains.vqa_questions.sql import TableSql
from step3vl.pipelines.domains.vqa_questions.tables import TableQuestions
from step3vl.pipelines.domains.vqa_questions.text import TextQuestions
from step3vl.pipelines.domains.vqa_questions.turns import BODIES, FOLLOW_UPS, Draft, Language, Turn, word
from step3vl.pipelines.grounding.names import COLOURS_ZH, ICONS_ZH
from step3vl.pipelines.render.scenes.scene import PlacedIcon
from step3vl.pipelines.render.style import COLOURS
from step3vl.pipelines.sources.icons import IconSet
from step3vl.pipelines.sources.tables.data_tables import DataTable, Graph, graph_of, tables_of

LANGUAGES: tuple[Language, ...] = ("en", "zh")
SALES = "Year,North,South\n1999,3,40\n2000,5,20\n2001,4,30\n2002,8,10"


def drafts(asker: Any, kind: str, count: int = 60) -> list[Draft]:
    """Questions of a kind, without those that chance did not find."""
    made = [asker.kinds()[kind]() for _ in range(count)]
    return [draft for draft in made if draft is not None]


def asker_of(text: str = SALES, language: Language = "en", seed: int = 0) -> TableQuestions:
    (table,) = tables_of(text)
    return TableQuestions(table, language, "", ("Lima", "Oslo"), random.Random(seed))


# Wordings


@pytest.mark.parametrize(("kind", "language"), product(sorted(BODIES), LANGUAGES))
def test_every_kind_has_more_than_fifty_wordings(kind: str, language: Language) -> None:
    bodies = BODIES[kind][language]
    assert len(set(bodies)) == len(bodies)
    frames = 1 if kind in FOLLOW_UPS else len(set(FRAMES[language]))
    if language == "en" and frames > 1:
        frames = min(frames, len(set(IMPERATIVE_FRAMES)))
    hints = 5  # none, and four
    assert len(bodies) * frames * hints > (25 if kind in FOLLOW_UPS else 50)


@pytest.mark.parametrize("language", LANGUAGES)
def test_wordings_end_as_sentences_and_hold_only_known_names(language: Language) -> None:
    known = {
        "label", "other", "series", "item", "items", "limit", "value", "node", "cited", "count", "number", "icon",
        "icons", "colour", "first", "second", "choices", "a_coloured", "place", "relation",
    }  # fmt: skip
    for kind, bodies in BODIES.items():
        for body in bodies[language]:
            assert body[-1] in ("?.：" if language == "en" else "？。"), (kind, body)
            filled = body.format(**dict.fromkeys(known, "x"))
            assert "{" not in filled


def test_frames_fit_questions_and_requests() -> None:
    seen = set()
    for seed in range(400):
        draft = Draft("value", {"label": "1999", "series": "North"}, "3", "number")
        seen.add(word(draft, "image", "en", "free", random.Random(seed)).question)
    assert len(seen) > 150
    assert all(" a image" not in text and "  " not in text and text[0].isupper() for text in seen)
    assert not any("please give" in text and "Please" in text for text in seen)


# Tables


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("argmax", {"North": "2002", "South": "1999"}),
        ("argmin", {"North": "1999", "South": "2002"}),
        ("second", {"North": "2000", "South": "2001"}),
        ("maximum", {"North": "8", "South": "40"}),
        ("minimum", {"North": "3", "South": "10"}),
        ("total", {"North": "20", "South": "100"}),
        ("mean", {"North": "5", "South": "25"}),
    ],
)
def test_questions_about_a_series(kind: str, answers: dict[str, str]) -> None:
    made = drafts(asker_of(), kind)
    assert {draft.values["series"].strip('"'): draft.answer for draft in made} == answers


def test_questions_about_cells_and_pairs() -> None:
    asker = asker_of()
    cells = {("1999", "North"): 3, ("2000", "North"): 5, ("2001", "North"): 4, ("2002", "North"): 8,
             ("1999", "South"): 40, ("2000", "South"): 20, ("2001", "South"): 30, ("2002", "South"): 10}  # fmt: skip

    def cell(draft: Draft, name: str) -> int:
        return cells[draft.values[name].strip('"'), draft.values["series"].strip('"')]

    for draft in drafts(asker, "value"):
        assert int(draft.answer) == cell(draft, "label")
        follow_up = asker.follow_up(draft)
        assert follow_up and int(follow_up.answer) == cell(follow_up, "label") and follow_up.kind == "next_value"
    for draft in drafts(asker, "difference"):
        assert int(draft.answer) == abs(cell(draft, "label") - cell(draft, "other"))
    for draft in drafts(asker, "compare"):
        higher = "label" if cell(draft, "label") > cell(draft, "other") else "other"
        assert draft.answer == draft.values[higher].strip('"')
    for draft in drafts(asker, "greater"):
        assert (draft.answer == "yes") == (cell(draft, "label") > cell(draft, "other"))
    for draft in drafts(asker, "rose"):
        assert draft.values["label"].strip('"') < draft.values["other"].strip('"')
        assert (draft.answer == "yes") == (cell(draft, "other") > cell(draft, "label"))
    for draft in drafts(asker, "reverse"):
        assert cells[draft.answer, draft.values["series"].strip('"')] == int(draft.values["value"])
    for draft in drafts(asker, "count_above"):
        series = draft.values["series"].strip('"')
        assert int(draft.answer) == sum(
            v > Decimal(draft.values["limit"]) for (_, s), v in cells.items() if s == series
        )


def test_both_answers_to_yes_or_no_are_common() -> None:
    counts = Counter(draft.answer for draft in drafts(asker_of(), "greater", 300))
    assert min(counts["yes"], counts["no"]) > 100


def test_what_is_absent_is_in_no_part_of_the_table() -> None:
    for draft in drafts(asker_of(), "absent_label"):
        assert draft.answer == ABSENT["en"] and not draft.answerable
        assert draft.values["label"].strip('"') in ("1998", "2003", "2004", "2005")
    cities = asker_of("City,North,South\nLima,1,2\nQuito,3,4\nTurin,5,6")
    assert {draft.values["label"].strip('"') for draft in drafts(cities, "absent_label")} == {"Oslo"}


def test_a_column_without_a_name_is_not_named() -> None:
    assert set(asker_of("City,%\nLima,30\nOslo,70").kinds()) == {"entries", "only_value"}


def test_the_step_of_the_values_is_said_where_a_value_is_asked_for() -> None:
    (table,) = tables_of(SALES)
    asker = TableQuestions(table, "en", "5", (), random.Random(0))
    assert all(draft.step == "5" for draft in drafts(asker, "value", 5))
    assert all(draft.step == "" for draft in drafts(asker, "mean", 5) + drafts(asker, "argmax", 5))
    turn = word(drafts(asker, "value", 1)[0], "chart", "en", "free", random.Random(1))
    assert "Values are multiples of 5." in turn.question


numbers = st.decimals(min_value=-999, max_value=999, places=2, allow_nan=False)


@given(st.integers(0, 2**32), st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=2, max_size=8))
def test_the_two_ways_agree_on_any_table(seed: int, values: list[list[Decimal]]) -> None:
    rows = tuple(tuple(row) for row in values)
    cells = tuple(tuple(f"{value:f}" for value in row) for row in rows)
    labels = tuple(f"row {index}" for index in range(len(rows)))
    table = DataTable("Name", labels, ("a b", "cd", "%"), cells, rows)
    asker = TableQuestions(table, "en", "", (), random.Random(seed))
    for make in asker.kinds().values():
        draft = make()  # raises where Decimal and SQL differ
        if draft is not None:
            word(draft, "table", "en", "choice", random.Random(seed))


@pytest.mark.parametrize("answer", [Decimal(4), "1999"])
def test_a_wrong_answer_does_not_pass_the_second_way(answer: Decimal | str) -> None:
    (table,) = tables_of(SALES)
    query = (
        "SELECT MAX({c}) FROM t" if isinstance(answer, Decimal) else "SELECT label FROM t ORDER BY {c} DESC LIMIT 1"
    )
    with pytest.raises(ValueError, match="by SQL"):
        TableSql(table).expect(answer, query, 0)


# Graphs


FLOW = "From,To\na,b\nb,c\nb,d\nd,e"


def test_questions_about_a_directed_graph() -> None:
    graph = graph_of(FLOW)
    assert graph is not None
    asker = GraphQuestions(graph, "en", random.Random(0))
    assert {draft.answer for draft in drafts(asker, "edge_count")} == {"4"}
    assert {draft.answer for draft in drafts(asker, "node_count")} == {"5"}
    assert {(d.values["node"].strip('"'), d.answer) for d in drafts(asker, "successor")} == {("a", "b"), ("d", "e")}
    assert {(d.values["node"].strip('"'), d.answer) for d in drafts(asker, "predecessor")} == {
        ("b", "a"), ("c", "b"), ("d", "b"), ("e", "d"),
    }  # fmt: skip
    edges = {("a", "b"), ("b", "c"), ("b", "d"), ("d", "e")}
    linked = drafts(asker, "linked", 200)
    assert all(
        (d.answer == "yes") == ((d.values["node"].strip('"'), d.values["other"].strip('"')) in edges) for d in linked
    )
    assert 60 < Counter(d.answer for d in linked)["yes"] < 140
    assert "joined" not in asker.kinds() and "edge_label" not in asker.kinds()


def test_questions_about_a_labelled_graph_without_arrows() -> None:
    graph = graph_of("Node,Node,Label\nA,B,owns\nB,C,uses\nC,D,owns")
    assert graph is not None
    asker = GraphQuestions(graph, "zh", random.Random(0))
    degrees = {d.values["node"].strip("“”"): d.answer for d in drafts(asker, "degree")}
    assert degrees == {"A": "1", "B": "2", "C": "2", "D": "1"}
    labels = {
        (d.values["node"].strip("“”"), d.values["other"].strip("“”")): d.answer for d in drafts(asker, "edge_label")
    }
    assert labels == {("A", "B"): "owns", ("B", "C"): "uses", ("C", "D"): "owns"}


@pytest.mark.parametrize(
    "text", ["From,To\na,b\na,b\nb,c", "From,To\na,a\na,b\nb,c", "From,To\na,b\nb,a\nb,c", "From,To\na,b"]
)
def test_a_graph_that_cannot_be_counted_plainly_is_not_asked_about(text: str) -> None:
    graph = graph_of(text)
    assert graph is not None and GraphQuestions(graph, "en", random.Random(0)).kinds() == {}


@given(
    st.sets(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), min_size=1),
    st.booleans(),
    st.integers(0, 99),
)
def test_the_two_ways_agree_on_any_graph(pairs: set[tuple[str, str]], directed: bool, seed: int) -> None:
    graph = Graph(directed, tuple((first, second, "") for first, second in sorted(pairs)))
    asker = GraphQuestions(graph, "en", random.Random(seed))
    for make in asker.kinds().values():
        make()


# Texts


RECEIPT = "CORNER SHOP\nInvoice no.: 4711\nDate: 2024-05-06\nMail us: shop@corner.example\nBread 2.50\nTotal: $12.40"
POEM = "春眠不觉晓，处处闻啼鸟。\n夜来风雨声，花落知多少。"


def reader(text: str, language: Language = "en", has_lines: bool = True, seed: int = 0) -> TextQuestions:
    outside = ["the quick brown fox jumps over fences", "床前明月光，疑是地上霜。举头望明月，低头思故乡。"]
    return TextQuestions(text, has_lines, language, outside, random.Random(seed))


def test_entries_of_a_form_are_read_by_their_keys() -> None:
    asker = reader(RECEIPT)
    pairs = {draft.values["cited"]: draft.answer for draft in drafts(asker, "key_value")}
    assert pairs == {
        '"Invoice no."': "4711",
        '"Date"': "2024-05-06",
        '"Mail us"': "shop@corner.example",
        '"Total"': "$12.40",
    }
    assert {draft.answer for draft in drafts(asker, "date")} == {"2024-05-06"}
    assert {draft.answer for draft in drafts(asker, "email")} == {"shop@corner.example"}
    assert {draft.answer for draft in drafts(asker, "price")} == {"$12.40"}
    assert "url" not in asker.kinds() and "title" not in asker.kinds()
    for draft in drafts(asker, "absent_key"):
        assert draft.values["cited"].strip('"').casefold() not in RECEIPT.casefold() and not draft.answerable


def test_words_beside_words() -> None:
    asker = reader("one two three four\nfive six seven two")
    after = {draft.values["cited"]: draft.answer for draft in drafts(asker, "word_after", 200)}
    assert after['"one two"'] == "three" and after['"six"'] == "seven"
    assert '"two"' not in after and '"four"' not in after  # twice, and at the end of a line
    before = {draft.values["cited"]: draft.answer for draft in drafts(asker, "word_before", 200)}
    assert before['"six"'] == "five" and before['"three four"'] == "two"


def test_lines_are_counted_and_read_only_where_the_image_has_them() -> None:
    asker = reader(RECEIPT)
    assert {draft.answer for draft in drafts(asker, "line_count")} == {"6"}
    lines = {draft.values["number"]: draft.answer for draft in drafts(asker, "nth_line")}
    assert lines["1"] == "CORNER SHOP" and lines["5"] == "Bread 2.50"
    assert not {"line_count", "nth_line", "line_with"} & set(reader(RECEIPT, has_lines=False).kinds())


def test_chinese_is_asked_about_by_characters() -> None:
    asker = reader(POEM, "zh")
    for draft in drafts(asker, "characters_after"):
        cited = draft.values["cited"].strip("“”")
        assert POEM.partition(cited)[2].startswith(draft.answer) and len(draft.answer) == int(draft.values["count"])
    for draft in drafts(asker, "character_count"):
        assert int(draft.answer) == POEM.count(draft.values["cited"].strip("“”"))
    assert "word_after" not in asker.kinds()


@pytest.mark.parametrize("text", [RECEIPT, POEM])
def test_presence_is_what_the_text_says(text: str) -> None:
    made = drafts(reader(text), "present", 200)
    assert all(
        (draft.values["cited"].strip('"').casefold() in text.casefold()) == (draft.answer == "yes") for draft in made
    )
    assert 60 < Counter(draft.answer for draft in made)["yes"] < 140
    for draft in drafts(reader(text), "which_present"):
        assert draft.answer.casefold() in text.casefold()
        assert not any(wrong.casefold() in text.casefold() for wrong in draft.wrong)


def test_headings_of_a_document() -> None:
    asker = reader("# Birds\n\nText here now.\n\n## Owls\n\nMore.\n\n## Geese\n", has_lines=False)
    assert {draft.answer for draft in drafts(asker, "heading_count")} == {"3"}
    assert {draft.answer for draft in drafts(asker, "title")} == {"Birds"}
    following = {draft.values["cited"]: draft.answer for draft in drafts(asker, "next_heading")}
    assert following == {'"Birds"': "Owls", '"Owls"': "Geese"}


def test_markup_that_the_image_does_not_show_as_it_stands_is_not_asked_about() -> None:
    assert reader("See [the page](http://x.example) for more of these words").kinds() == {}
    assert reader("<table><tr><td>a b c d</td></tr></table>").kinds() == {}


@given(st.text(alphabet="ab c'’-.,:#\n\"甲乙丙丁戊*$1@", max_size=300), st.booleans(), st.integers(0, 99))
def test_the_two_ways_agree_on_any_text(text: str, has_lines: bool, seed: int) -> None:
    asker = reader(text, has_lines=has_lines, seed=seed)
    for make in asker.kinds().values():
        draft = make()
        if draft is not None:
            word(draft, "image", "en", "choice", random.Random(seed))


# Scenes


def icon(name: str, colour: str, x: int, y: int, side: int = 100) -> PlacedIcon:
    return PlacedIcon(name, colour, Box(x, y, x + side, y + side, "pixels", (1000, 1000)))


SCENE = [
    icon("cat", "red", 100, 100),
    icon("dog", "blue", 800, 120),
    icon("cat", "blue", 420, 700, 200),
    icon("key", "red", 100, 780),
]


def scene_asker(
    placed: list[PlacedIcon], read: list[PlacedIcon] | None = None, language: Language = "en"
) -> SceneQuestions:
    icons = ("cat", "dog", "key", "star")
    return SceneQuestions(placed, read or placed, icons, ("red", "blue", "green"), False, language, random.Random(0))


def test_questions_about_a_scene() -> None:
    asker = scene_asker(SCENE)
    counts = {draft.values["icon"].removesuffix(" icon"): draft.answer for draft in drafts(asker, "icon_count", 300)}
    assert counts == {"cat": "2", "dog": "1", "key": "1", "star": "0"}
    assert {d.values["colour"]: d.answer for d in drafts(asker, "coloured_count")} == {"red": "2", "blue": "2"}
    assert {draft.answer for draft in drafts(asker, "all_count")} == {"4"}
    colours = {draft.values["icon"].removesuffix(" icon"): draft.answer for draft in drafts(asker, "colour")}
    assert colours == {"dog": "blue", "key": "red"}  # not the cat, of which there are two
    assert {draft.answer for draft in drafts(asker, "rightmost")} == {"dog"}
    assert {draft.answer for draft in drafts(asker, "bottommost", 5)} == set()  # the key and the large cat are as low
    beside = {(d.values["first"], d.values["second"]): d.answer for d in drafts(asker, "is_left")}
    assert beside == {("dog", "key"): "no", ("key", "dog"): "yes"}
    assert {draft.answer for draft in drafts(asker, "same_colour")} == {"no"}
    for draft in drafts(asker, "exists", 200):
        there = {("cat", "red"), ("dog", "blue"), ("cat", "blue"), ("key", "red")}
        pair = (draft.values["icon"].removesuffix(" icon"), draft.values["colour"])
        assert (draft.answer == "yes") == (pair in there)
    assert {d.values["icon"].removesuffix(" icon") for d in drafts(asker, "absent_object")} == {"star"}
    more = {(d.values["first"], d.values["second"]): d.answer for d in drafts(asker, "more", 200)}
    assert more[("cats", "dogs")] == "yes" and more[("keys", "cats")] == "no" and ("dogs", "keys") not in more


def test_what_the_pixels_do_not_bear_out_fails() -> None:
    other = [item._replace(colour="green") if item.icon == "dog" else item for item in SCENE]
    with pytest.raises(ValueError, match="by the pixels"):
        drafts(scene_asker(SCENE, other), "colour")


def test_on_a_photograph_things_are_called_icons() -> None:
    asker = SceneQuestions(SCENE, SCENE, ("cat", "dog", "key", "star"), ("red", "blue"), True, "zh", random.Random(0))
    assert {draft.values["icon"] for draft in drafts(asker, "absent_object")} == {"星星图标"}


def test_every_icon_and_colour_has_a_chinese_name(context: Any) -> None:
    assert set(IconSet(context.assets(["assets:icons/*.svg"])).names) <= set(ICONS_ZH)
    assert set(COLOURS) <= set(COLOURS_ZH)
    assert len(set(ICONS_ZH.values())) == len(ICONS_ZH) and len(set(COLOURS_ZH.values())) == len(COLOURS_ZH)


# Conversations


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "make", [lambda n: asker_of(seed=n), lambda n: reader(RECEIPT, seed=n), lambda n: scene_asker(SCENE)]
)
def test_conversations_ask_different_things_and_their_answers_are_graded(make: Any, language: Language) -> None:
    kinds: Counter[str] = Counter()
    for seed in range(40):
        asker: Asker = make(seed)
        turns = converse(asker, "image", language, 4, 0.5, 0.1, set(), random.Random(seed))
        assert len({turn.question for turn in turns}) == len(turns) >= 1
        for turn in turns:
            kinds[turn.style] += 1
            assert grade_answer(turn.truth, turn.answer).verdict == "correct"
            if isinstance(turn.truth, OptionTruth):
                others = [option for option in turn.truth.options if option != turn.truth.option]
                assert others and all(grade_answer(turn.truth, other).verdict == "wrong" for other in others)
    assert kinds["free"] > 20 and kinds["choice"] > 10


def test_no_conversation_repeats_a_question_of_an_earlier_one() -> None:
    asked: set[str] = set()
    asker = asker_of()
    all_turns: list[Turn] = []
    for seed in range(30):
        all_turns += converse(asker, "table", "en", 3, 0, 0, asked, random.Random(seed))
    assert len(all_turns) > 40 and len(asked) == len(all_turns)


def test_a_grader_that_refuses_the_answer_is_noticed() -> None:
    with pytest.raises(ValueError, match="the grader does not accept"):
        word(Draft("title", {}, "  ", "text"), "page", "en", "free", random.Random(0))
