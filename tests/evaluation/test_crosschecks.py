"""Our verdicts beside those of VLMEvalKit, lmms-eval, lm-eval and math-verify on the same replies.

The peers' verdicts are recorded (`tests/peers/crosschecks/verdicts.json`, by `make eval-peers`); none of them is
needed here. Every difference must be a known one (`traps.json`), and every known one must still be there.
"""

import json
from collections import defaultdict

import pytest
from crosschecks.aggregates import AGGREGATES
from crosschecks.cases import CASES, TRAPS, VERDICTS, Case, agrees, digest
from crosschecks.coverage import ALONE, SHARED, comparisons

from step3vl.evaluation.registry import benchmark_names

RECORDED = json.loads(VERDICTS.read_text(encoding="utf-8"))
KNOWN: dict[str, dict[str, list[str]]] = json.loads(TRAPS.read_text(encoding="utf-8"))


def differences(case: Case, rule: str) -> dict[str, str]:
    """The forms of replies on which we differ from a peer, with both verdicts."""
    recorded = RECORDED["cases"][case.name]["verdicts"]
    theirs = {form: iter(codes.split()) for form, codes in recorded.items()}
    pairs = defaultdict(list)
    for reply in case.replies():
        ours, peer = case.ours(reply, rule), next(theirs[reply.form])
        if not agrees(ours, peer, rule):
            pairs[reply.form].append(f"{reply.text!r}: ours {ours}, theirs {peer}")
    return {form: "; ".join(lines) for form, lines in pairs.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_peer_gives_our_verdicts_but_for_known_traps(case: Case) -> None:
    known = {form: reason for reason, forms in KNOWN.get(case.name, {}).items() for form in forms}
    differing = differences(case, "strict")
    new = {form: pairs for form, pairs in differing.items() if form not in known}
    assert not new, "a difference that no trap explains"
    assert not known.keys() - differing.keys(), "a trap that is none any more; remove it"


@pytest.mark.parametrize("case", [case for case in CASES if case.official], ids=lambda case: case.name)
def test_the_official_rule_reproduces_its_code_on_every_reply(case: Case) -> None:
    assert differences(case, "official") == {}


def test_the_recorded_verdicts_belong_to_these_replies() -> None:
    assert {case.name for case in CASES} == RECORDED["cases"].keys(), "run `make eval-peers`"
    for case in CASES:
        replies = digest(reply.text for reply in case.replies())
        assert RECORDED["cases"][case.name]["replies"] == replies, f"{case.name}: run `make eval-peers`"


@pytest.mark.parametrize("name", AGGREGATES)
def test_the_same_verdicts_give_the_numbers_of_a_peer(name: str) -> None:
    assert AGGREGATES[name].ours() == RECORDED["aggregates"][name]


def test_every_trap_has_one_reason_and_belongs_to_a_reply() -> None:
    forms = {case.name: {reply.form for reply in case.replies()} for case in CASES}
    for name, reasons in KNOWN.items():
        named = [form for each in reasons.values() for form in each]
        assert set(named) <= forms[name], name
        assert len(set(named)) == len(named), f"{name}: two reasons for one form"


def test_every_benchmark_is_compared_or_says_why_not() -> None:
    names = benchmark_names()
    compared = {name for name in names if comparisons(name)}
    assert compared | ALONE.keys() == set(names)
    assert not compared & ALONE.keys(), "compared after all; remove it from ALONE"
    assert {each for shared in SHARED.values() for each in shared} <= {case.name for case in CASES} | AGGREGATES.keys()
    assert SHARED.keys() <= set(names)
