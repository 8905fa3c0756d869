"""lmms-eval's own functions: the `process_results` of its tasks."""

import importlib
import random
import sys
from collections.abc import Callable
from typing import Any

from crosschecks.replies import LETTERS, AsksJudge, Reply, graded

_RANDOM = "\0"


def task(module: str) -> Any:
    """A module of a task."""
    import huggingface_hub

    huggingface_hub.snapshot_download = lambda *args, **kwargs: ""  # some tasks download their images when imported
    return importlib.import_module(f"lmms_eval.tasks.{module}")


def _hit(value: Any) -> str:
    """The verdict in what `process_results` returns: a number, or a record with `score`, `is_correct` or `correct`."""
    if isinstance(value, dict):
        value = next(value[name] for name in ("score", "is_correct", "correct") if name in value)
    return "1" if value else "0"


def _first(results: dict[str, Any]) -> str:
    return _hit(next(iter(results.values())))


def _options(reply: Reply) -> list[str]:
    return list(reply.item.fields["options"])


def _process(module: str, function: str, doc: Callable[[Reply], dict[str, Any]]) -> Callable[[Reply], str]:
    return lambda reply: _first(getattr(task(module), function)(doc(reply), [reply.text]))


def _mmmu(reply: Reply, module: str) -> str:
    code = task(module)
    index2ans, letters = code.get_multi_choice_info(_options(reply))
    choose, random.choice = random.choice, lambda letters: _RANDOM
    try:
        parsed = code.parse_multi_choice_response(reply.text, letters, index2ans)
    finally:
        random.choice = choose
    return "r" if parsed == _RANDOM else _hit(parsed == reply.item.answer)


def _super_gpqa(reply: Reply) -> str:
    code = task("super_gpqa.utils")
    choose, random.choice = random.choice, lambda letters: _RANDOM
    try:
        parsed = code.parse_multi_choice_response(reply.text.strip(), list(LETTERS))
    finally:
        random.choice = choose
    return "r" if parsed == _RANDOM else _hit(parsed == reply.item.answer)


def _vstar(reply: Reply) -> str:
    doc = {"label": reply.item.answer, "question_id": "0", "text": "", "category": "c"}
    return _first(task("vstar_bench.utils").vstar_process_results(doc, [reply.text]))


def _mmsi(reply: Reply) -> str:
    return _hit(task("mmsi_bench.utils").extract_single_choice_with_word_boundary(reply.text, reply.item.answer))


def _omnispatial(reply: Reply) -> str:
    code = task("omnispatial.utils")
    code.config = {**code.config, "metadata": {**code.config["metadata"], "eval_type": "re"}}
    doc = {"gt": reply.item.answer, "id": 0, "sub_task_type": "t", "task_type": "t", "question": "", "options": []}
    return _first(code.omnispatial_process_results(doc, [reply.text]))


def _stare(reply: Reply) -> str:
    sys.modules.setdefault("latex2sympy2", importlib.import_module("latex2sympy2_extended"))  # its maintained fork
    code = task("stare.utils")
    return _hit(code.is_equal(code.fast_extract_answer(reply.text), reply.item.answer))


def _corecognition(reply: Reply) -> str:
    return _hit(task("corecognition.utils")._template_match(reply.text, "MC") == reply.item.answer)


def _screen(reply: Reply) -> dict[str, Any]:
    width, height = reply.item.fields["size"]
    left, top, wide, high = reply.item.fields["pixels"]
    return {
        "image_width": width, "image_height": height, "image_size": [width, height], "img_size": [width, height],
        "bbox": [left, top, wide, high], "data_type": "text", "ui_type": "text",
        "box_type": "bbox", "box_coordinates": [left, top, wide, high],
    }  # fmt: skip


def _corners(reply: Reply) -> dict[str, Any]:
    left, top, wide, high = reply.item.fields["pixels"]
    return {**_screen(reply), "bbox": [left, top, left + wide, top + high]}


def _spatialviz(reply: Reply) -> str:
    code = task("spatialviz.utils")
    code.spatialviz_doc_to_text = lambda doc: ""
    names = ("Image_id", "Category", "Task", "Level")
    return _first(code.spatialviz_process_results({"Answer": reply.item.answer, **dict.fromkeys(names)}, [reply.text]))


def _chartqa(reply: Reply) -> str:
    return _hit(task("chartqa.utils").relaxed_correctness(reply.text, str(reply.item.answer)))


def _pope(reply: Reply) -> str:
    doc = {"answer": "yes" if reply.item.answer == "Y" else "no", "question_id": 0}
    return _first(task("pope.utils").pope_process_results(doc, [reply.text]))


def _mathvista(reply: Reply) -> str:
    evaluator = task("mathvista.mathvista_evals").MathVistaEvaluator()
    evaluator.get_chat_response = lambda *args, **kwargs: _RANDOM  # what its judge is asked for
    item, fields = reply.item, reply.item.fields
    kind = "multi_choice" if fields["choices"] else "free_form"
    problem = {**fields, "question_type": kind, "query": ""}
    extracted = evaluator.extract_answer(reply.text, problem, quick_extract=True)
    if extracted == _RANDOM:
        return "j"
    precision = int(fields["precision"] or 0)
    value = evaluator.normalize_extracted_answer(extracted, fields["choices"], kind, fields["answer_type"], precision)
    return _hit(evaluator.safe_equal(value, item.answer))


def _mathvision(reply: Reply) -> str:
    sys.modules.setdefault("latex2sympy2", importlib.import_module("latex2sympy2_extended"))
    doc = {"answer": reply.item.answer, "options": reply.item.fields["options"]}
    results = task("mathvision.utils").mathvision_process_results(doc, [reply.text])
    return _hit(results["mathvision_standard_eval"]["scores"][0])


def _reasoning(answer: Callable[[Reply], str]) -> Callable[[Reply], str]:
    """The reward that its tasks for reasoning models share, without its judge."""

    def verdict(reply: Reply) -> str:
        code = task("_task_utils.reasoning_utils")
        return _hit(code.compute_score("", reply.text.strip(), answer(reply))["acc_score"])

    return verdict


def _erqa(reply: Reply) -> str:
    doc = {"answer": reply.item.answer, "question_id": "0", "question_type": "t"}
    return _first(task("erqa.utils").erqa_process_results(doc, [reply.text]))


def _phyx(reply: Reply) -> str:
    def ask(*args: Any, **kwargs: Any) -> str:
        raise AsksJudge

    code = task("phyx.utils")
    code.phyx_evaluator.judger_generate = ask
    doc = {"answer": reply.item.answer, "index": 0, "category": "c"}
    try:
        return _hit(code.phyx_process_results_mc(doc, [reply.text])["eval_results"]["true_false"])
    except AsksJudge:
        return "j"


def _cc_ocr(reply: Reply) -> str:
    row = {"subset": reply.item.category, "track": "multi_lan_ocr", "gt": reply.item.answer, "pred": reply.text}
    return graded(task("cc_ocr.evaluators.ocr_metric").compute_track([row], "macro_f1"))


def _letters(**names: Any) -> Callable[[Reply], dict[str, Any]]:
    return lambda reply: {"answer": reply.item.answer, "choices": _options(reply), **names}


def _texts(reply: Reply) -> dict[str, Any]:
    return {"answer": list(reply.item.answer), "dataset": reply.item.fields["dataset"], "question_type": "t"}


FUNCTIONS: dict[str, Callable[[Reply], str]] = {
    "mmmu": lambda reply: _mmmu(reply, "mmmu.utils"),
    "mmmu_pro": lambda reply: _mmmu(reply, "mmmu_pro.utils"),
    "blink": _process("blink.utils", "blink_process_results", _letters(idx=0, sub_task="t")),
    "cv_bench": _process(
        "cv_bench.utils", "cv_bench_process_results", _letters(idx=0, type="t", task="t", source="s")
    ),
    "realworldqa": _process("realworldqa.utils", "realworldqa_process_results", _letters()),
    "mmstar": _process("mmstar.utils", "mmstar_process_results", _letters(index=0, category="c", l2_category="c")),
    "vstar_bench": _vstar,
    "mmsi_bench": _mmsi,
    "mindcube": _process(
        "mindcube.utils", "mindcube_process_results", lambda reply: {"gt_answer": reply.item.answer, "id": "among_0"}
    ),
    "spatialviz": _spatialviz,
    "omni_spatial": _process(
        "omni_spatial.utils",
        "omni_spatial_process_results",
        lambda reply: {"answer": LETTERS.index(reply.item.answer)},
    ),
    "omnispatial (re)": _omnispatial,
    "viewspatial": _process("viewspatial.utils", "viewspatial_process_results", _letters()),
    "visulogic": _process("visulogic.utils", "visulogic_process_results", lambda reply: {"label": reply.item.answer}),
    "stare": _stare,
    "super_gpqa": _super_gpqa,
    "corecognition": _corecognition,
    "zerobench": _process(
        "zerobench.utils", "zerobench_process_results", lambda reply: {"question_answer": reply.item.answer}
    ),
    "ocrbench": _process("ocrbench.utils", "ocrbench_process_results", _texts),
    "countbench": _process(
        "countbench.utils", "countbench_process_results", lambda reply: {"number": reply.item.answer}
    ),
    "countbenchqa": _process(
        "countbenchqa.utils", "countbenchqa_process_results", lambda reply: {"number": reply.item.answer}
    ),
    "pixmo_count": _process(
        "pixmo_count.utils", "pixmo_count_process_results", lambda reply: {"answer": str(reply.item.answer)}
    ),
    "screenspot_v2": _process("screenspot_v2.utils", "screenspot_v2_process_results", _screen),
    "screenspot_pro": _process("screenspot_pro.utils", "screenspot_pro_process_results", _corners),
    "osworld_g": _process("osworld_g.utils", "osworld_g_process_results", _screen),
    "chartqa": _chartqa,
    "pope": _pope,
    "mathvista": _mathvista,
    "mathvision": _mathvision,
    "dynamath": _reasoning(lambda reply: reply.item.answer),
    "logicvista": _reasoning(lambda reply: ", ".join(reply.item.answer).upper()),
    "erqa": _erqa,
    "phyx (mc)": _phyx,
    "cc_ocr": _cc_ocr,
}
