"""VLMEvalKit's own functions, each from its own module.

Its packages import some hundred benchmarks and models, and with them gigabytes of other packages. Here they are
shells that only say where their modules lie, so that a module runs as it is and brings what it needs itself.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

from crosschecks.replies import LETTERS, AsksJudge, Reply, graded

COMMIT = "e8e78f05f3080fe28154f2130321f17951c3be94"
"""Of VLMEvalKit, which has no releases on an index; the Makefile fetches it."""
_SHELLS = ("", ".api", ".dataset", ".dataset.utils", ".dataset.GUI")


class _Shell(types.ModuleType):
    """A package without what its `__init__` would import; names that modules ask it for are empty classes."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def module(name: str) -> Any:
    """A module of VLMEvalKit, as it is."""
    _add_packages()
    return importlib.import_module(f"vlmeval.{name}")


def _add_packages() -> None:
    if "vlmeval" in sys.modules:
        return
    spec = importlib.util.find_spec("vlmeval")
    assert spec is not None and spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    for package in _SHELLS:
        package_ = _Shell(f"vlmeval{package}")
        package_.__path__ = [str(root.joinpath(*package.split(".")))]
        sys.modules[package_.__name__] = package_


def _can_infer(reply: Reply) -> str:
    choices = dict(zip(LETTERS, reply.item.fields["options"], strict=False))
    letter = module("utils.matching_util").can_infer(reply.text, choices)
    return "j" if not letter else "1" if letter == reply.item.answer else "0"


def _yes_no(reply: Reply) -> str:
    word = module("dataset.utils.yorn").YOrN_Extraction(reply.text)
    return "1" if word[0] == reply.item.answer else "0"


def _corecognition(reply: Reply) -> str:
    code = module("dataset.utils.corecognition")
    letter = code.template_match(code.rm_model_special(reply.text), "MC")
    return "j" if letter == "Fail" else "1" if letter == reply.item.answer else "0"


def _visulogic(reply: Reply) -> str:
    letter, _ = module("dataset.utils.visulogic").extract_answer(reply.text)
    return "1" if letter == reply.item.answer else "0"


def _we_math(reply: Reply) -> str:
    import pandas

    code = module("dataset.utils.wemath")
    code.load = lambda frame: frame  # it reads a file of answers
    frame = pandas.DataFrame([{"prediction": reply.text, "answer": reply.item.answer}])
    return "1" if code.load_and_process_data(frame)["joker"][0] else "0"


def _ocrbench(reply: Reply) -> str:
    import pandas

    code = module("dataset.utils.ocrbench")
    formula = reply.item.fields["dataset"] == "HME100k"
    category = "Handwritten Mathematical Expression Recognition" if formula else "Regular Text Recognition"
    row = {"prediction": reply.text, "answer": repr(list(reply.item.answer)), "category": category}
    scores: dict[str, Any] = {}
    code.load = lambda path: pandas.DataFrame([row])
    code.dump = lambda score, path: scores.update(score)
    code.OCRBench_eval("x.tsv")
    return "1" if scores["Final Score"] else "0"


def _countbench(reply: Reply) -> str:
    import pandas

    code = module("dataset.image_vqa")
    row = {"index": 0, "prediction": reply.text, "answer": reply.item.answer}
    scores: list[Any] = []
    load, dump = code.load, code.dump
    code.load, code.dump = lambda path: pandas.DataFrame([row]), lambda table, path: scores.append(table)
    try:
        code.CountBenchQA.evaluate(None, "x.tsv")
    finally:
        code.load, code.dump = load, dump
    return "1" if float(scores[0]["accuracy"].iloc[0]) else "0"


def _relaxed(reply: Reply) -> str:
    relaxed = module("dataset.utils.vqa_eval").relaxed_correctness
    return "1" if relaxed(str(reply.item.answer), reply.text) else "0"


def _screenspot(reply: Reply) -> str:
    """The comparison of `ScreenSpot.evaluate_point`, which reads images, on the point of its `parse_bbox_aguvis`."""
    code = module("dataset.GUI.screenspot")
    width, height = reply.item.fields["size"]
    left, top, wide, high = reply.item.fields["pixels"]
    x, y = code.parse_bbox_aguvis(reply.text)
    if x > 1 or y > 1:
        x, y = x / width, y / height
    inside = left / width <= x <= (left + wide - 1) / width and top / height <= y <= (top + high - 1) / height
    return "1" if inside else "0"


class _Judge:
    """A judge that says one thing; without a text, it is only noticed that it was asked."""

    def __init__(self, text: str | None = None) -> None:
        self._text = text

    def generate(self, *args: Any, **kwargs: Any) -> str:
        if self._text is None:
            raise AsksJudge
        return self._text


def _mathvista(reply: Reply) -> str:
    item, choices = reply.item, reply.item.fields["choices"]
    line = {
        "question": "", "prediction": reply.text, "answer": item.answer, "choices": repr(choices),
        "question_type": "multi_choice" if choices else "free_form", "answer_type": item.fields["answer_type"],
        "answer_option": LETTERS[choices.index(item.answer)] if choices else "",
    }  # fmt: skip
    code = module("dataset.utils.mathvista")
    try:
        result = code.MathVista_auxeval(_Judge(), line)["res"]
    except AsksJudge:
        return "j"
    return "1" if code.post_check({**line, "res": result}) else "0"


def _mathvision(reply: Reply) -> str:
    line = {
        "question": "", "prediction": reply.text, "answer": reply.item.answer,
        "choices": repr(reply.item.fields["options"]),
    }  # fmt: skip
    code = module("dataset.utils.mathv")
    try:
        result = code.MATH_V_auxeval(_Judge(), line)["res"]
    except AsksJudge:
        return "j"
    return "1" if code.post_check({**line, "res": result}) else "0"


def _dynamath(reply: Reply) -> str:
    line = {"prediction": reply.text, "answer": reply.item.answer, "answer_type": reply.item.fields["answer_type"]}
    try:
        return "1" if module("dataset.dynamath").DynaMath_auxeval(_Judge(), line)["correct"] else "0"
    except AsksJudge:
        return "j"


def _logicvista(reply: Reply) -> str:
    line = {"question": "", "prediction": "", "answer": ", ".join(reply.item.answer).upper()}
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its prompt
        return str(module("dataset.utils.logicvista").LogicVista_auxeval(_Judge(reply.text), line)["hit"])


def _mathverse(reply: Reply) -> str:
    line = {"question_for_eval": "", "extract": "54", "answer": reply.item.answer, "prediction": ""}
    return "1" if module("dataset.utils.mathverse").MathVerse_auxeval_score(_Judge(reply.text), line)["score"] else "0"


def _charxiv(reply: Reply) -> str:
    result = module("dataset.charxiv").auxeval(_Judge(reply.text), {"grading_query": "", "prediction": ""})
    return "1" if result["score"] == 1 else "0"


def _phyx(reply: Reply) -> str:
    line = {"index": 0, "answer": reply.item.answer, "prediction": reply.text}
    try:
        return str(module("dataset.utils.phyx").PhyX_auxeval_MC(_Judge(), line)["res"])
    except AsksJudge:
        return "j"


def _cc_ocr(reply: Reply) -> str:
    language, answer = reply.item.category, reply.item.answer
    evaluator = module("dataset.utils.ccocr_evaluator.ocr_evaluator").OcrEvaluator("multi_lan_ocr")
    result = evaluator.evaluate({"image": reply.text}, {"image": answer}, dataset=language)
    return graded(result["summary"]["macro_f1_score"])


FUNCTIONS: dict[str, Callable[[Reply], str]] = {
    "can_infer": _can_infer,
    "YOrN_Extraction": _yes_no,
    "template_match (CoreCognition)": _corecognition,
    "extract_answer (VisuLogic)": _visulogic,
    "We-Math answer": _we_math,
    "OCRBench": _ocrbench,
    "CountBenchQA": _countbench,
    "relaxed_correctness": _relaxed,
    "ScreenSpot": _screenspot,
    "MathVista_auxeval": _mathvista,
    "MATH_V_auxeval": _mathvision,
    "DynaMath_auxeval": _dynamath,
    "LogicVista_auxeval": _logicvista,
    "MathVerse_auxeval_score": _mathverse,
    "auxeval (CharXiv)": _charxiv,
    "PhyX_auxeval_MC": _phyx,
    "OcrEvaluator (CC-OCR)": _cc_ocr,
}
