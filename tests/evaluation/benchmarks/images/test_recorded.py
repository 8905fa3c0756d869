"""Outputs in the layouts of the authors: rows of our own, scored by the official rules."""

import gzip
import json

import pytest

from step3vl.data.errors import UserError
from step3vl.evaluation.registry import load_benchmark
from step3vl.evaluation.scoring import score_recorded


def numbers(name, path, rule="official"):
    """Values and counts of recorded outputs."""
    benchmark = load_benchmark(name)
    metrics = benchmark.summarise([each.scored for each in score_recorded(benchmark, [path], path.parent, rule)])
    return {**metrics.values, **metrics.counts}


@pytest.fixture
def put(tmp_path):
    def write(name, value):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = name.removesuffix(".gz").endswith(".jsonl")
        text = "\n".join(map(json.dumps, value)) if lines else json.dumps(value)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


def test_responses_to_mmmu_by_subject(put):
    choice = {"question_type": "multiple-choice", "answer": "B", "index2ans": {"A": "cat", "B": "dog"}}
    rows = [
        {"id": "validation_Art_1", **choice, "response": "B"},
        {"id": "validation_Art_2", **choice, "response": "neither"},
        {"id": "validation_Art_3", "question_type": "short-answer", "answer": ["4", "four"], "response": "It is 4"},
    ]
    result = numbers("mmmu", put("outputs.json.gz", {"Art": rows}))
    assert (result["correct"], result["unparsable"], result["choice_correct"], result["open_correct"]) == (2, 1, 1, 1)
    assert result["Art and Design"] == pytest.approx(200 / 3)
    assert numbers("mmmu", put("output.json", rows)) == result


def test_final_answers_to_mmmu_with_the_answers_beside_them(put):
    key = {"question_type": "multiple-choice", "ground_truth": "B"}
    put("answer_dict_val.json", {"validation_Art_1": key, "validation_Art_2": key})
    assert (
        numbers("mmmu", put("model/outputs.json", {"validation_Art_1": "B", "validation_Art_2": "A"}))["correct"] == 1
    )
    with pytest.raises(UserError, match="'validation_Art_9' is not in"):
        numbers("mmmu", put("model/outputs.json", {"validation_Art_9": "B"}))


def test_answers_that_are_not_there_are_named(put):
    with pytest.raises(UserError, match=r"answer_dict_val.json: no such file"):
        numbers("mmmu", put("outputs.json", {"validation_Art_1": "B"}))


def test_responses_to_mmmu_pro_with_verdicts(put):
    row = {"id": "test_Art_1", "options": "['cat', 'dog']", "answer": "B"}
    rows = [
        {**row, "response": "Answer: B", "if_right": True},
        {**row, "id": "test_Art_2", "response": {"error": "blocked"}, "if_right": False},
    ]
    result = numbers("mmmu-pro", put("model_vision_cot.jsonl", rows))
    assert (result["vision"], result["unparsable"]) == (50, 1)


def test_both_matchers_of_vlmevalkit_on_mmmu(put):
    row = {"split": "validation", "field": "Art", "options": {"A": "cat", "B": "dog"}, "answer": "B"}
    rows = [
        {"index": 1, **row, "prediction": "B it is, as far as we know."},
        {"index": 2, **row, "options": {}, "answer": "1.5", "prediction": "So 1.5"},
    ]
    result = numbers("mmmu-vlmevalkit", put("MMMU_DEV_VAL.json", rows))
    assert (result["validation_choice_correct"], result["validation_choice_correct_2026"], result["correct"]) == (
        1,
        0,
        2,
    )


def test_blink_scores_extracted_letters_and_the_mean_over_tasks(put):
    row = {"answer": "(A)", "full_prediction": "(A) it is", "prediction": "(A)"}
    outputs = {
        "Counting": [{"idx": "val_Counting_1", **row}],
        "Art_Style": [{"idx": f"val_Art_Style_{number}", **row, "prediction": "(Z)"} for number in (1, 2, 3)],
    }
    path = put("outputs.json", outputs)
    result = numbers("blink", path)
    assert (result["accuracy"], result["micro"], result["unparsable"]) == (50, 25, 3)
    assert numbers("blink", path, "strict")["correct"] == 4  # the responses themselves


def test_letters_of_blink_that_are_missing_are_wrong(put):
    put("val_answers.json", {"val_Counting_1": "(A)", "val_Counting_2": "(B)"})
    assert numbers("blink", put("saved/model.json", {"val_Counting_1": "(A)"}))["accuracy"] == 50


def test_a_recorded_judgement_counts_where_the_rule_reads_nothing(put):
    row = {"category": "Depth", "source": "Omni3D", "options": {"A": "table", "B": "chair"}, "answer": "A"}
    rows = [
        {"index": 0, **row, "prediction": "The nearer is obvious.", "hit": 1},
        {"index": 1, **row, "prediction": "B", "hit": 0},
    ]
    result = numbers("cv-bench", put("CV-Bench-3D.json", rows))
    assert (result["accuracy"], result["judged"]) == (50, 1)
    assert numbers("cv-bench", put("CV-Bench-3D.json", rows), "strict")["unparsable"] == 1


def test_lists_as_predictions_of_realworldqa(put):
    row = {"n_options": 3, "answer": "B", "hit": 0}
    path = put("outputs.json", [{"index": 0, **row, "prediction": "['B']"}])
    assert numbers("realworldqa", path)["correct"] == 0  # the judge's verdict
    assert numbers("realworldqa", path, "strict")["correct"] == 1


def test_a_run_of_several_in_a_file(put):
    row = {"image": "1.jpg", "question": "Which?", "answer": "It is red.", "acc": 1.0}
    kinds = {"direct_attributes": [{**row, "pred_ans": "A"}, {**row, "image": "2.jpg", "pred_ans": "It is red."}]}
    path = put("runs.json", {"a/step_1": kinds, "b": {"relative_position": [{**row, "pred_ans": "B", "acc": 0.0}]}})
    assert numbers("vstar", path.parent / "runs.json#a/step_1")["correct"] == 2
    assert numbers("vstar", path.with_name("runs.json#b"))["correct"] == 0
    with pytest.raises(UserError, match="name one of its runs after '#': a/step_1, b"):
        numbers("vstar", path)


def test_verdicts_of_people_on_hallusionbench(put):
    row = {
        "category": "VS",
        "subcategory": "table ",
        "set_id": "0",
        "figure_id": "1",
        "visual_input": "1",
        "gt_answer": "1",
    }
    rows = [
        {**row, "question_id": "0", "gpt4v_output": "Yes", "gpt4v_output_human_check": "1"},
        {**row, "question_id": "1", "gpt4v_output": "Maybe", "gpt4v_output_human_check": "2"},
    ]
    result = numbers("hallusionbench", put("outputs.json", rows))
    assert (result["aAcc"], result["qAcc"], result["fAcc"]) == (50, 50, 0)


def test_a_set_that_is_numbered_twice_is_two_sets(put):
    row = {
        "category": "VS",
        "subcategory": "chart",
        "set_id": "10",
        "figure_id": "1",
        "visual_input": "1",
        "gt_answer": "1",
    }
    row |= {"question_id": "0", "gpt4v_output": "Yes", "gpt4v_output_human_check": "1"}
    result = numbers("hallusionbench", put("outputs.json", [row, {**row, "sample_note": "box_office"}]))
    assert (result["questions"], result["figures"]) == (2, 2)


def test_models_of_ocrbench(put):
    row = {"dataset_name": "IIIT5K", "id": 1, "image_path": "a.png", "question": "?", "answers": "CENTRE", "type": "x"}
    path = put(
        "joined.json",
        {"LLaVA": [{**row, "predict": "Centre", "result": 1}], "T5": [{**row, "predict": "no", "result": 0}]},
    )
    assert numbers("ocrbench", path.with_name("joined.json#LLaVA"))["correct"] == 1


def test_outputs_of_m3gia_are_scored_against_the_release(put, releases):
    path = put("english.jsonl", [{"question_id": "1", "response": "B) dog"}])
    benchmark = load_benchmark("m3gia")
    assert [each.scored.score.verdict for each in score_recorded(benchmark, [path], releases / "m3gia")] == ["correct"]


@pytest.mark.parametrize("benchmark", ["mmmu-pro", "mmmu-vlmevalkit", "cv-bench", "realworldqa", "hallusionbench"])
def test_another_layout_names_the_field_that_is_missing(benchmark, put):
    with pytest.raises(UserError, match="a record has no field '"):
        numbers(benchmark, put("outputs.json", [{"id": "1"}]))
