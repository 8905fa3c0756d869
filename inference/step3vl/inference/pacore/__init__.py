"""PaCoRe: parallel rounds whose conclusions become the references of a synthesis. Needs no torch."""

from step3vl.inference.pacore.pacore import (
    LEVELS,
    Finished,
    PaCoRe,
    PaCoReConfig,
    PaCoReEvent,
    PaCoReResult,
    RoundFinished,
    RoundStarted,
    collect_conclusions,
)
from step3vl.inference.pacore.round import AnswerDelta, HypothesisDelta, RolloutsRestarted
from step3vl.inference.pacore.synthesis import TEMPLATE, extract_conclusion, load_template, synthesis_request
from step3vl.inference.pacore.together import answer_together
from step3vl.inference.pacore.trace import RolloutTrace, RoundTrace, Savings, Trace

__all__ = [
    "LEVELS",
    "TEMPLATE",
    "AnswerDelta",
    "Finished",
    "HypothesisDelta",
    "PaCoRe",
    "PaCoReConfig",
    "PaCoReEvent",
    "PaCoReResult",
    "RolloutTrace",
    "RolloutsRestarted",
    "RoundFinished",
    "RoundStarted",
    "RoundTrace",
    "Savings",
    "Trace",
    "answer_together",
    "collect_conclusions",
    "extract_conclusion",
    "load_template",
    "synthesis_request",
]
