"""Benchmarks of documents, charts, screens and code: official files, and what becomes of responses."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import Rule
from step3vl.evaluation.benchmarks.cc_ocr_multi_lang import BENCHMARK as CC_OCR
from step3vl.evaluation.benchmarks.charxiv import BENCHMARK as CHARXIV
from step3vl.evaluation.benchmarks.hle import BENCHMARK as HLE
from step3vl.evaluation.benchmarks.hle import calibration_error
from step3vl.evaluation.benchmarks.humaneval_v import BENCHMARK as HUMANEVAL_V
from step3vl.evaluation.benchmarks.humaneval_v import read_code
from step3vl.evaluation.benchmarks.math_verse import BENCHMARK as MATH_VERSE
from step3vl.evaluation.benchmarks.mmbench_gui_l2 import BENCHMARK as MMBENCH_GUI_L2
from step3vl.evaluation.benchmarks.omni_ocr import BENCHMARK as OMNI_OCR
from step3vl.evaluation.benchmarks.omnidocbench import BENCHMARK as OMNIDOCBENCH
from step3vl.evaluation.benchmarks.omnidocbench import _page_name
from step3vl.evaluation.benchmarks.osworld_g import BENCHMARK as OSWORLD_G
from step3vl.evaluation.benchmarks.phyx import BENCHMARK as PHYX
from step3vl.evaluation.benchmarks.screenspot import BENCHMARK as SCREENSPOT
from step3vl.evaluation.benchmarks.screenspot_pro import BENCHMARK as SCREENSPOT_PRO
from step3vl.evaluation.benchmarks.screenspot_v2 import BENCHMARK as SCREENSPOT_V2
from step3vl.evaluation.benchmarks.zerobench_sub import BENCHMARK as ZEROBENCH_SUB
from step3vl.evaluation.item import Item, Score, Scored
from step3vl.evaluation.scoring import score_recorded


def _png(width: int = 200, height: int = 100) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def _parquet(path: Path, *records: dict) -> None:
    pq.write_table(pa.Table.from_pylist(list(records)), path)


@pytest.fixture
def screens(tmp_path: Path) -> Path:
    for folder in ("screenspot_imgs", "offline_images/os_mac"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.png").write_bytes(_png())
    return tmp_path


def test_screenspot_reads_corners_and_sizes_of_boxes(screens: Path) -> None:
    record = {"img_filename": "a.png", "bbox": [20, 10, 40, 20], "instruction": "open", "data_type": "icon"}
    for part in ("mobile", "desktop", "web"):
        (screens / f"screenspot_{part}.json").write_text(json.dumps([record]))
    items = list(SCREENSPOT.items(screens))
    assert [item.category for item in items] == ["mobile, icon", "desktop, icon", "web, icon"]
    assert items[0].fields["box"] == [0.1, 0.1, 0.3, 0.3]
    assert SCREENSPOT.score(items[0], '{"point_2d": [299, 299]}').verdict == "correct"
    (screens / "screenspot_imgs" / "a.png").unlink()
    with pytest.raises(UserError, match=r"a\.png"):
        list(SCREENSPOT.items(screens, images=False))


def test_screenspot_v2_tells_its_layouts_apart_by_their_fields(screens: Path) -> None:
    record = {"img_filename": "a.png", "bbox": [20, 10, 40, 20], "instruction": "open", "ui_type": "text"}
    for part in ("mobile", "desktop", "web"):
        (screens / f"screenspot_{part}_v2.json").write_text(json.dumps([record | {"img_size": [200, 100]}]))
    items = list(SCREENSPOT_V2.items(screens, images=False))
    assert items[0].fields["box"] == [0.1, 0.1, 0.2, 0.2]


def test_screenspot_pro_scores_a_response_without_a_point_as_unparsable(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    record = {
        "id": "x", "img_filename": "app/a.png", "bbox": [0, 0, 20, 10], "img_size": [200, 100], "instruction": "save",
        "ui_type": "icon", "group": "Dev", "application": "app",
    }  # fmt: skip
    (tmp_path / "annotations" / "app.json").write_text(json.dumps([record]))
    (item,) = SCREENSPOT_PRO.items(tmp_path, images=False)
    assert SCREENSPOT_PRO.score(item, "I cannot see it").verdict == "unparsable"
    assert SCREENSPOT_PRO.score(item, '{"point_2d": [50, 50]}').verdict == "correct"


def test_screenspot_pro_keeps_the_verdicts_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    row = {"bbox": [0, 0, 10, 10], "ui_type": "text", "group": "Dev", "raw_response": ""}
    rows = [
        row | {"pred": [10, 10], "correctness": "wrong"},  # on the border by rounding alone
        row | {"pred": [5, 5], "correctness": "correct"},
        row | {"pred": None, "correctness": "wrong_format"},
    ]
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    scored = [each.scored for each in score_recorded(SCREENSPOT_PRO, [log], tmp_path)]
    counts = SCREENSPOT_PRO.summarise(scored).counts
    assert (counts["correct"], counts["correct by rounded points"], counts["unparsable"]) == (1, 2, 1)
    log.write_text(json.dumps({"details": rows}))
    assert len(score_recorded(SCREENSPOT_PRO, [log], tmp_path)) == 3


def test_osworld_g_reads_boxes_and_polygons(tmp_path: Path) -> None:
    record = {"image_path": "a.png", "image_size": [200, 100], "instruction": "open", "GUI_types": ["Menu"]}
    kinds = [("bbox", [20, 10, 20, 10]), ("polygon", [0, 0, 200, 0, 0, 100]), ("refusal", [-1, -1, -1, -1])]
    rows = [record | {"id": kind, "box_type": kind, "box_coordinates": box} for kind, box in kinds]
    (tmp_path / "OSWorld-G.json").write_text(json.dumps(rows))
    box, polygon, refusal = OSWORLD_G.items(tmp_path, images=False)
    assert box.fields["box"] == [0.1, 0.1, 0.2, 0.2]
    assert OSWORLD_G.score(polygon, '{"point_2d": [100, 100]}').verdict == "correct"
    assert OSWORLD_G.score(polygon, '{"point_2d": [900, 900]}').verdict == "wrong"
    assert "box" not in refusal.fields


def test_mmbench_gui_reads_boxes_in_pixels_and_in_units(screens: Path) -> None:
    record = {"image_path": "a.png", "instruction": "open", "platform": "os_mac", "data_type": "icon"}
    rows = [
        record | {"bbox": [20, 10, 40, 20], "grounding_type": "basic"},
        record | {"bbox": [0.1, 0.1, 0.2, 0.2], "grounding_type": "advanced"},
        record | {"bbox": [-1, 10, 40, 20], "grounding_type": "basic"},
    ]
    (screens / "L2_annotations.json").write_text(json.dumps(rows))
    items = list(MMBENCH_GUI_L2.items(screens))
    assert items[0].fields["box"] == items[1].fields["box"] == [0.1, 0.1, 0.2, 0.2]
    assert items[2].fields["box"][0] == 0
    assert [item.category for item in items[:2]] == ["os_mac, basic", "os_mac, advanced"]


def test_cc_ocr_counts_words_in_any_order() -> None:
    item = Item("1", (), "Bonjour le monde", category="French")
    score = CC_OCR.score(item, "monde bonjour")
    assert score.value == pytest.approx(0.8) and score.verdict == "partial"
    assert CC_OCR.score(item, "### le monde\nBonjour").verdict == "correct"
    assert CC_OCR.score(Item("2", (), "東京 都", category="Japanese"), "都東京").verdict == "correct"
    assert CC_OCR.score(item, " ").verdict == "unparsable"


def test_cc_ocr_averages_languages() -> None:
    scored = [
        Scored(Item(str(number), (), "a", category=language), Score(value, "partial"))
        for number, (language, value) in enumerate([("French", 1.0), ("French", 1.0), ("German", 0.0)])
    ]
    assert CC_OCR.summarise(scored).value == 50


def test_omni_ocr_compares_the_fields_that_a_second_model_extracts() -> None:
    item = Item("1", (), {"a": 1, "b": 2}, fields={"schema": {"type": "object"}, "markdown": "A 1"})
    assert '"type": "object"' in OMNI_OCR.judge_messages(item, "A 1")[0].content[0].text
    assert OMNI_OCR.read_judgement(item, "a 1", '```json\n{"a": 1, "b": 3}\n```').value == 0.5
    for judgement in ("no", '{"a": 1, "b": {"c": 2}, "d'):
        assert OMNI_OCR.read_judgement(item, "a 1", judgement).verdict == "unparsable", "none, and one that was cut"
    perfect = OMNI_OCR.read_judgement(item, "a 1", '{"b": 2, "a": 1}')
    assert perfect.verdict == "correct" and perfect.details["similarity"] == 1


def test_charxiv_asks_for_as_many_decimals_as_the_answer_has(tmp_path: Path) -> None:
    record = {"figure_id": 1, "query": "Which?", "qa_source": 1}
    rows = {
        str(kind): record | {"answer": answer, "inst_category": kind}
        for kind, answer in ((1, "A"), (2, "yes"), (3, "5"), (4, "0.25"))
    }
    (tmp_path / "reasoning_val.json").write_text(json.dumps(rows))
    items = list(CHARXIV.items(tmp_path, images=False))
    assert "2 decimal places" in items[3].messages[1].content[1].text
    assert len({item.messages[1].content[1].text for item in items}) == 4
    assert "<think>" in items[0].messages[0].content[0].text


@pytest.mark.parametrize(
    ("judgement", "verdict"),
    [
        ('{"extracted_answer": "A", "score": 1}', "correct"),
        ('```json\n{"extracted_answer": "B", "score": 0}\n```', "wrong"),
        ('{"score": 2}', "unparsable"),
        ('{"score": true}', "unparsable"),
        ("1", "unparsable"),
    ],
)
def test_charxiv_reads_judgements(judgement: str, verdict: str) -> None:
    assert CHARXIV.read_judgement(Item("1", (), "A"), "A", judgement).verdict == verdict


def test_hle_reads_judgements_and_confidences() -> None:
    item = Item("1", (), "42", fields={"question": "Which?"})
    right = HLE.read_judgement(item, "", '{"extracted_final_answer": "42", "correct": "yes", "confidence": "80%"}')
    assert right.verdict == "correct" and right.details["confidence"] == 80
    assert HLE.read_judgement(item, "", '{"correct": "no"}').details["confidence"] == 100
    assert HLE.read_judgement(item, "", "correct: yes").verdict == "unparsable"
    assert HLE.summarise([Scored(item, right)]).values["calibration error"] == pytest.approx(20)


def test_calibration_error_by_hand() -> None:
    pairs = [(0.2, 0.0), (0.2, 1.0), (0.9, 1.0), (0.9, 1.0)]
    assert calibration_error(pairs, size=2) == pytest.approx(((0.5 * 0.3**2) + (0.5 * 0.1**2)) ** 0.5)
    assert calibration_error([]) == 0


def test_math_verse_leaves_other_texts_to_the_judge() -> None:
    item = Item("1", (), "B", fields={"question": "Which?"})
    assert MATH_VERSE.score(item, "\\boxed{B}").verdict == "correct"
    assert MATH_VERSE.score(item, "\\boxed{C}").verdict == "unparsable"
    assert "[Model's answer]: C" in MATH_VERSE.judge_messages(item, "\\boxed{C}")[0].content[0].text
    assert MATH_VERSE.read_judgement(item, "\\boxed{C}", "0").verdict == "wrong"
    assert MATH_VERSE.read_judgement(item, "\\boxed{C}", "10").verdict == "unparsable"


def test_images_in_parquet_files_are_read(tmp_path: Path) -> None:
    image = {"bytes": _png(), "path": "a.png"}
    _parquet(
        tmp_path / "zerobench_subquestions-00000-of-00001.parquet",
        {"question_id": "7_2", "question_text": "How many?", "question_images_decoded": [image, image],
         "question_answer": "3"},
    )  # fmt: skip
    (item,) = ZEROBENCH_SUB.items(tmp_path)
    assert len(item.images) == 2 and item.group == "7" and ZEROBENCH_SUB.about.items == 334
    _parquet(
        tmp_path / "test-00000-of-00001.parquet",
        {"id": "a", "question": "Which?", "image": "", "answer": "1", "answer_type": "exactMatch", "category": "Math"},
    )
    (item,) = HLE.items(tmp_path)
    assert item.images == () and len(item.messages[0].content) == 1


def test_phyx_is_multiple_choice() -> None:
    assert PHYX.score(Item("1", (), "C"), "Final answer: C").verdict == "correct"
    assert PHYX.score(Item("1", (), "C"), "Hard to say").verdict == "unparsable"


SIGNATURE = "def solution(x: int) -> int:\n    pass\n"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("```python\ndef solution(x):\n    return x\n```", "\ndef solution(x):\n    return x\n"),
        ("```python\nprint(1)\n```\n```python\ndef solution(x): ...\n```", "\ndef solution(x): ...\n"),
        ("```\ndef solution(x): ...\n```", "\ndef solution(x): ...\n"),
        ("```python\n    return x\n```", f"{SIGNATURE}\n    return x\n"),
        ("def solution(x): ...", None),
    ],
)
def test_humaneval_v_reads_the_program(response: str, code: str | None) -> None:
    assert read_code(response, SIGNATURE) == code


def test_humaneval_v_estimates_passes_without_bias() -> None:
    item = Item("q1", (), None)
    scored = [Scored(item, Score.of(number < 2, ""), number) for number in range(6)]
    values = HUMANEVAL_V.summarise(scored).values
    assert values["pass@1"] == pytest.approx(100 / 3)
    assert values["pass@3"] == pytest.approx(100 * (1 - 4 / 20))


def _page(name: str, text: str) -> dict:
    block = {"category_type": "text_block", "anno_id": 0, "order": 1, "text": text}
    return {"page_info": {"image_path": f"{name}.png", "page_attribute": {"language": "en"}}, "layout_dets": [block]}


def test_omnidocbench_reads_pages_and_predictions(tmp_path: Path) -> None:
    pages = [_page("book_1", "abcdefghij"), _page("book_7", "abcdefghij"), _page("missing", "a")]
    (tmp_path / "pages_demo.json").write_text(json.dumps(pages))
    (tmp_path / "model.json").write_text(json.dumps({"book_1.md": "abcdefghij", "book_7.md": "abcde"}))
    names: dict[Rule, list[str]] = {"official": ["book", "book_7"], "strict": ["book_1", "book_7"]}
    for rule, page_names in names.items():
        responses = score_recorded(OMNIDOCBENCH, [tmp_path / "model.json"], tmp_path, rule)
        scored = [each.scored for each in responses]
        metrics = OMNIDOCBENCH.summarise(scored)
        assert metrics.values["text"] == pytest.approx(25)
        assert metrics.values["edit distance"] == pytest.approx(12.5)  # of text and reading order
        assert [_page_name(each, each.score.details["text"][0][2]) for each in scored] == page_names


def test_omnidocbench_needs_an_answer() -> None:
    item = Item("a", (), _page("a", "text"))
    assert OMNIDOCBENCH.score(item, "  ").verdict == "unparsable"
    assert OMNIDOCBENCH.score(item, "text").verdict == "correct"


def test_a_page_without_an_answer_counts_as_missed() -> None:
    pages = [Item(name, (), _page(name, "abcdefghij")) for name in ("a", "b")]
    answers = (Score.unparsable("truncated"), OMNIDOCBENCH.score(pages[1], "abcdefghij"))
    metrics = OMNIDOCBENCH.summarise([Scored(item, score) for item, score in zip(pages, answers, strict=True)])
    assert metrics.values["text"] == metrics.values["order"] == 50
