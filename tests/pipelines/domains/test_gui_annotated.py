"""Public sets of interfaces as a domain: samples with right answers, and a reason for everything that is lost."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.pipelines.gui.sets.gui_sets import FOLDER, SETS, build, entry_of

from step3vl.data.errors import UserError
from step3vl.grading import grade_answer
from step3vl.pipelines.core.context import StepContext
from step3vl.pipelines.core.steps import rng_for
from step3vl.pipelines.domains.gui_annotated_phrasings import ask_for

LOST: dict[str, dict[str, int]] = {
    "agentnet": {"right_click": 1, "trajectory_with_right_click": 1},
    "mind2web": {"hover": 1, "trajectory_with_hover": 1},
    "wave_ui": {"test_set": 1},
    "weblinx": {"address": 1, "hover": 1, "tab": 1, "trajectory_with_address": 1},
}


@pytest.mark.parametrize("name", SETS)
def test_each_format_leads_to_samples_with_right_answers(name: str, context: StepContext) -> None:
    samples, lost = build(entry_of(name), context)
    assert samples
    assert lost == LOST.get(name, {})
    for sample in samples:
        assert sample.truth is not None
        assert grade_answer(sample.truth, sample.answer()).verdict == "correct"
        assert sample.source.licence == "CC0-1.0"
        assert sample.source.traits["set"] == name


@pytest.mark.parametrize("name", ["agentnet", "wave_ui"])
def test_documents_are_made_as_well(name: str, context: StepContext) -> None:
    samples, _ = build(entry_of(name, kind="document"), context)
    assert {sample.kind for sample in samples} == {"document"}


def test_the_same_files_make_the_same_samples(context: StepContext) -> None:
    first, second = (build(entry_of("amex"), context)[0] for _ in range(2))
    assert [sample.id for sample in first] == [sample.id for sample in second]


def test_approximations_are_told(context: StepContext) -> None:
    samples, _ = build(entry_of("mind2web"), context)
    assert Counter(sample.source.traits.get("loss") for sample in samples) == {"select": 2, None: 3}


def test_a_missing_screenshot_costs_its_step_and_the_whole(context: StepContext, tmp_path: Path) -> None:
    for path in Path(FOLDER, "images").glob("phone_[ls]*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    samples, lost = build(entry_of("gui_odyssey", images=f"{tmp_path}/{{name}}"), context)
    assert lost == {"missing_image": 1, "trajectory_with_missing_image": 1}
    assert len(samples) == 5  # four steps, and one by its own instruction


def test_screens_of_test_sets_are_dropped_also_in_another_resolution(context: StepContext, tmp_path: Path) -> None:
    from PIL import Image as PILImage

    with PILImage.open(Path(FOLDER, "images/phone_list.png")) as opened:
        opened.resize((540, 960)).save(tmp_path / "test.png")
    samples, lost = build(entry_of("wave_ui", exclude_images=[f"{tmp_path}/*.png"]), context)
    assert samples == []
    assert lost == {"in_test_set": 4, "test_set": 1}


def test_a_screen_whose_boxes_mean_something_else_fails_as_a_whole(context: StepContext) -> None:
    coordinates = {"order": "xywh", "unit": "unit"}
    _, lost = build(entry_of("uground", coordinates=coordinates), context)
    assert list(lost) == ["6 of 6 boxes are none or lie outside of the screen of 480 x 320: are they xywh in unit?"]


def test_what_is_told_twice_is_ambiguous(context: StepContext, tmp_path: Path) -> None:
    record = json.loads(Path(FOLDER, "seeclick/seeclick_web.json").read_text())
    record[0]["elements"].append({**record[0]["elements"][1], "instruction": "Inbox"})
    (tmp_path / "web.json").write_text(json.dumps(record))
    sources = [{"files": [f"{tmp_path}/web.json"], "licence": "CC0-1.0"}]
    images = f"{Path(FOLDER, 'images').absolute()}/{{name}}"
    samples, lost = build(entry_of("seeclick", sources=sources, images=images), context)
    assert (len(samples), lost) == (5, {"ambiguous": 2})


def test_a_malformed_record_costs_itself(context: StepContext, tmp_path: Path) -> None:
    records = json.loads(Path(FOLDER, "os_atlas/desktop.json").read_text())
    del records[0]["bbox"]
    records[1]["img_filename"] = "../../secret.png"
    (tmp_path / "desktop.json").write_text(json.dumps(records))
    sources = [{"files": [f"{tmp_path}/desktop.json"], "licence": "CC0-1.0"}]
    samples, lost = build(entry_of("os_atlas", sources=sources, images="{name}"), context)
    assert samples == []
    assert lost["KeyError: 'bbox'"] == 1
    assert lost["missing_image"] == 4


@pytest.mark.parametrize("name", ["x" * 5000, "phone_list.png/x", ".", "a\0b"])
def test_a_name_that_no_file_can_have_costs_its_record(name: str, context: StepContext, tmp_path: Path) -> None:
    """A disk fails on it as if it were broken itself, which would end the whole build."""
    records = json.loads(Path(FOLDER, "os_atlas/desktop.json").read_text())
    records[0]["img_filename"] = name
    (tmp_path / "desktop.json").write_text(json.dumps(records))
    sources = [{"files": [f"{tmp_path}/desktop.json"], "licence": "CC0-1.0"}]
    images = f"{Path(FOLDER, 'images').absolute()}/{{name}}"
    samples, lost = build(entry_of("os_atlas", sources=sources, images=images), context)
    assert samples and lost.total() == 1


def test_an_infinite_size_costs_its_record(context: StepContext, tmp_path: Path) -> None:
    records = json.loads(Path(FOLDER, "screenspot_pro/mail_linux.json").read_text())
    records[0]["img_size"][0] = float("inf")
    (tmp_path / "mail.json").write_text(json.dumps(records))
    sources = [{"files": [f"{tmp_path}/mail.json"], "licence": "CC0-1.0"}]
    images = f"{Path(FOLDER, 'images').absolute()}/{{name}}"
    samples, lost = build(entry_of("screenspot_pro", sources=sources, images=images), context)
    assert samples and lost == {"OverflowError: cannot convert float infinity to integer": 1}


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("uground", {"coordinates": None}, "do not say what the numbers of a box mean"),
        ("seeclick", {"coordinates": {"order": "xyxy", "unit": "pixels"}}, "remove coordinates"),
        ("screenspot", {"test_sets": False}, "set test_sets: true"),
        ("seeclick", {"images": "images"}, "must contain {name}"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    name: str, fields: dict[str, Any], message: str, context: StepContext
) -> None:
    with pytest.raises(UserError, match=message):
        entry_of(name, **fields).check(context)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="must be one of agentnet, aitw"):
        entry_of("os_atlas", format="os-atlas")


def test_there_are_many_phrasings_in_both_languages() -> None:
    for text in ("open it", "打开"):
        asked = {ask_for("point", "instruction", text, rng_for(number)) for number in range(2000)}
        assert len(asked) >= 40
