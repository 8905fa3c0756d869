"""Does it cost to omit the importance ratio at this size? RL with `importance: none` and `clip`, over several seeds.

The runs are those of `workflows/tiny/rl.yaml` with several mini-batches an iteration and fewer iterations. All start
from the same model and evaluate on the same held-out prompts, so only the seed of the run and the objective differ. A
run that is finished is not repeated, and one that was killed resumes.

    make study-importance          # after `make demo`; about 10 minutes on two idle cores
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from step3vl.data.storage import write_durably
from step3vl.grading import estimate
from step3vl.training.launch import launch
from step3vl.training.monitor import METRICS, read_metrics
from step3vl.training.rl.config import RLConfig
from step3vl.workflows.config import load_config, to_yaml

RECIPE = Path(__file__).parents[1] / "tiny" / "rl.yaml"
OBJECTIVES = ("none", "clip")


class Outcome(NamedTuple):
    """What a run came to."""

    importance: str
    seed: int
    start: float
    """Held-out reward before the first iteration."""
    end: float
    """Held-out reward after the last iteration."""
    lowest: float
    """Lowest mean reward of an iteration."""
    kl_k3: float
    """Largest movement of the policy in an iteration, nats per token."""


def run(importance: str, seed: int, arguments: argparse.Namespace) -> Outcome:
    """Run, resume or read one run."""
    output = arguments.out / f"{importance}-{seed}"
    overrides = {
        "output": str(output),
        "init": str(arguments.model),
        "data.dataset": str(arguments.dataset),
        "iterations": arguments.iterations,
        "algorithm.importance": importance,
        "actor.minibatches": arguments.minibatches,
        "seed": seed,
    }
    config = load_config(RECIPE, overrides, RLConfig, root=str(arguments.out))
    if not (output / "eval_end.json").exists():
        output.mkdir(parents=True, exist_ok=True)
        write_durably(output / "config.yaml", to_yaml(config).encode())
        launch("step3vl.training.rl.trainer", output / "config.yaml", config.engine.processes)
    start, end = (json.loads((output / f"eval_{name}.json").read_bytes())["reward_mean"] for name in ("start", "end"))
    rows = [row for row in read_metrics(output / METRICS) if "reward_mean" in row]
    lowest, kl_k3 = min(row["reward_mean"] for row in rows), max(row.get("kl_k3", 0.0) for row in rows)
    return Outcome(importance, seed, start, end, lowest, kl_k3)


def table(outcomes: Sequence[Outcome]) -> str:
    """The runs, and the mean gain of each objective over its seeds with its standard error."""
    lines = ["| importance | seed | start | end | lowest iteration | largest kl_k3 |", "|---|---|---|---|---|---|"]
    for row in outcomes:
        lines.append(
            f"| {row.importance} | {row.seed} | {row.start:.3f} | {row.end:.3f} | {row.lowest:.3f} | {row.kl_k3:.3f} |"
        )
    for importance in OBJECTIVES:
        gains = [row.end - row.start for row in outcomes if row.importance == importance]
        if gains:
            gain = estimate(gains)
            lines.append(f"\n`{importance}`: {gain.mean:+.3f} ± {gain.se:.3f} over {len(gains)} seeds")
    return "\n".join(lines)


def main() -> None:
    """Run the study and write `results.json` and `results.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("runs/tiny/sft/export"), help="the model to start from")
    parser.add_argument("--dataset", type=Path, default=Path("runs/tiny/corpus"), help="its corpus")
    parser.add_argument("--out", type=Path, default=Path("runs/studies/importance"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=16)
    parser.add_argument("--minibatches", type=int, default=4, help="optimizer steps of the actor in an iteration")
    arguments = parser.parse_args()
    outcomes: list[Outcome] = []
    for seed in arguments.seeds:
        for importance in OBJECTIVES:
            outcomes.append(run(importance, seed, arguments))
            result = table(outcomes)
            print(result, flush=True)
            write_durably(arguments.out / "results.json", json.dumps([row._asdict() for row in outcomes]).encode())
            write_durably(arguments.out / "results.md", f"{result}\n".encode())


if __name__ == "__main__":
    main()
