"""Which rule scores which task of LiveBench."""

from collections.abc import Callable, Mapping

from step3vl.evaluation.livebench import data_analysis, language, mathematics, reasoning

TaskRule = Callable[[str, str], float]
"""From the official answer and a response to a value in 0..1."""

RULES: Mapping[str, TaskRule] = {
    "cta": data_analysis.cta,
    "tablejoin": data_analysis.tablejoin,
    "AMPS_Hard": mathematics.amps_hard,
    "olympiad": mathematics.olympiad,
    "spatial": reasoning.spatial,
    "web_of_lies_v2": reasoning.web_of_lies_v2,
    "zebra_puzzle": reasoning.zebra_puzzle,
    "connections": language.connections,
    "typos": language.typos,
    "plot_unscrambling": language.plot_unscrambling,
}
"""One line for each task with an answer. Tables to reformat and contests also need the question."""

CODING = ("LCB_generation", "coding_completion")
"""Tasks whose responses are run on tests."""


def score_answer(task: str, subtask: str, question: str, truth: str, released: str, response: str) -> float | None:
    """The value of a response; None where the task has no rule of this kind.

    Args:
        task: The task.
        subtask: Of mathematics; empty elsewhere.
        question: The prompt.
        truth: The official answer.
        released: The release that the question came with, as YYYY-MM-DD; some rules changed.
        response: Any text, without reasoning.
    """
    if task == "tablereformat":
        return data_analysis.tablereformat(truth, response, question)
    if task == "math_comp":
        is_aime = subtask.startswith("aime")
        return mathematics.aime(truth, response) if is_aime else mathematics.contest(truth, response, question)
    if released < "2024-11-25" and task == "zebra_puzzle":
        return reasoning.zebra_puzzle_2024(truth, response)
    if released < "2024-11-25" and task == "connections":
        return language.connections_2024(truth, response)
    return RULES[task](truth, response) if task in RULES else None
