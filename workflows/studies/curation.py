"""Does curation pay at this size? The tiny model trained on a corpus with faults, and on the same corpus curated.

The texts are docstrings of packages that `make setup` installs, of which near-duplicates are dropped and 256 are held
out. Half of the corpus are faults that are put in: some texts again and again with a word changed, and texts that were
damaged. Both runs of a seed take the same number of steps and are evaluated on the held-out texts, of which neither
corpus has a copy. A run that is finished is not repeated.

    make study-curation            # a few minutes on two idle cores
"""

import argparse
import ast
import json
import random
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer

from step3vl.data.dataset import MANIFEST, Counting, Dataset, LedgerStep, Split, commit, shard_name, write_shard
from step3vl.data.sample import ImageSpec, Sample, Source, text
from step3vl.data.storage import write_durably
from step3vl.data.tokens import TOKENIZER, count_tokens, fingerprint, train_bpe
from step3vl.grading import estimate
from step3vl.pipelines.curation.config import CurationConfig
from step3vl.pipelines.curation.curate import curate
from step3vl.training.launch import launch
from step3vl.training.monitor import METRICS, read_metrics

PACKAGES = ("networkx", "scipy")
HELD_OUT = 256
LENGTH = 480  # characters of a text at most, so that it fits into a pack
COPIES = 15  # of one text in twenty
VOCABULARY = 1500
IMAGE = ImageSpec(image_size=64, crop_size=48, patch_size=8, max_side=256)
ARMS = ("uncurated", "curated")
FILTERS = {"*": {"formatting": {}, "gopher": {"words": [20, 100_000]}, "repetition": {}}}
RUN: dict[str, Any] = {
    "model": {
        "image": IMAGE.model_dump(mode="json"), "hidden_size": 128, "layers": 3, "heads": 4, "kv_heads": 2,
        "vision_width": 32, "vision_layers": 1, "vision_heads": 2,
    },
    "data": {"sequence_length": 192, "global_batch": 16, "workers": 0},
    "engine": {"processes": 1, "micro_batch": 16, "precision": "fp32"},
    "optimizer": {"beta2": 0.95},
}  # fmt: skip


class Outcome(NamedTuple):
    """What a run came to."""

    arm: str
    seed: int
    loss: float
    """Held-out loss after the last step, nats per token."""


def docstrings() -> Iterator[str]:
    """The beginnings of the docstrings of installed packages, in order of their files."""
    for package in PACKAGES:
        spec = find_spec(package)
        assert spec is not None and spec.origin is not None, f"{package} is not installed; run `make setup`"
        for path in sorted(Path(spec.origin).parent.rglob("*.py")):
            if "tests" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    words = (ast.get_docstring(node) or "")[:LENGTH].rpartition(" ")[0]
                    if len(words) > LENGTH // 2:
                        yield words


def with_faults(texts: Sequence[str], rng: random.Random) -> Iterator[str]:
    """The texts, copies of some of them with a word changed, and a fourth of as many that are damaged."""
    vocabulary = " ".join(texts).split()
    for number, words in enumerate(texts):
        yield words
        parts = words.split(" ")
        if number % 20 == 0:
            for _ in range(COPIES):
                place = rng.randrange(len(parts))
                yield " ".join([*parts[:place], rng.choice(vocabulary), *parts[place + 1 :]])
        if number % 4 == 1:
            yield rng.choice(
                [
                    " ".join(words.replace(" ", "")),  # a font without spaces, read letter by letter
                    words.replace("e", "é").encode().decode("latin-1"),
                    " ".join([" ".join(parts[:8])] * 10),
                    " ... # ".join(parts),
                ]
            )


def save(root: Path, texts: Sequence[str], tokenizer: Tokenizer, split: Split = "train") -> Dataset:
    """Commit texts as a dataset; one that is there is opened."""
    if not (root / MANIFEST).exists():
        (root / TOKENIZER).parent.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(root / TOKENIZER))
        source = Source(uri="installed:docstrings", licence="BSD-3-Clause", collected_by="studies")
        made = {}
        for words in texts:
            sample = Sample.make(domain="text", task="text.document", content=(text(words),), source=source)
            made[sample.id] = sample.model_copy(update={"tokens": count_tokens(sample, tokenizer, IMAGE)})
        shard = write_shard(root, shard_name("study", split, 0, 1), split, [made[id] for id in sorted(made)])
        commit(
            root,
            name="study",
            shards=[shard],
            ledger=[LedgerStep(name="make", read=len(made), kept=len(made))],
            counting=Counting(tokenizer=TOKENIZER, tokenizer_sha256=fingerprint(tokenizer), image=IMAGE),
            config={},
            code_version="study",
        )
    return Dataset.open(str(root))


def make_corpora(out: Path) -> dict[str, Dataset]:
    """The held-out texts, and the two corpora."""
    pool = list(docstrings())
    tokenizer = train_bpe(pool, VOCABULARY)
    whole = save(out / "pool", pool, tokenizer)
    unique = [sample.last_text() for sample in curate([whole.url], out / "unique", CurationConfig()).samples()]
    heldout = save(out / "heldout", unique[:HELD_OUT], tokenizer, "heldout")
    faulty = list(with_faults(unique[HELD_OUT:], random.Random(0)))
    uncurated = save(out / "uncurated", faulty, tokenizer)
    config = CurationConfig.model_validate({"against": [heldout.url], "filters": FILTERS})
    return {
        "heldout": heldout,
        "uncurated": uncurated,
        "curated": curate([uncurated.url], out / "curated", config),
    }


def run(arm: str, seed: int, steps: int, corpora: dict[str, Dataset], out: Path) -> Outcome:
    """Run, resume or read one run."""
    output = out / f"{arm}-{seed}"
    if not (output / "export").exists():
        mixture = {"sources": [{"dataset": corpora[arm].url}]}
        heldout = {"sources": [{"dataset": corpora["heldout"].url, "split": "heldout"}]}
        phase = {"steps": steps, "lr_start": 2e-3, "lr_end": 2e-4, "warmup_steps": 10, "mixture": mixture}
        config = {
            **RUN,
            "output": str(output),
            "tokenizer": f"{corpora['heldout'].url}/{TOKENIZER}",
            "phases": [phase],
            "evaluation": {"every": steps, "packs": 64, "mixture": heldout},
            "seed": seed,
        }
        output.mkdir(parents=True, exist_ok=True)
        write_durably(output / "config.yaml", json.dumps(config).encode())  # JSON is YAML
        launch("step3vl.training.pretrain", output / "config.yaml", 1)
    losses = [row["evaluation"]["loss"] for row in read_metrics(output / METRICS) if "evaluation" in row]
    return Outcome(arm, seed, losses[-1])


def table(outcomes: Sequence[Outcome], corpora: dict[str, Dataset]) -> str:
    """The runs, and by how much curation lowers the loss with the standard error over the seeds."""
    lines = ["| corpus | samples | tokens |", "|---|---:|---:|"]
    for arm in ARMS:
        shards = corpora[arm].manifest.shards
        samples, tokens = (sum(getattr(shard, name) for shard in shards) for name in ("samples", "text_tokens"))
        lines.append(f"| {arm} | {samples:,} | {tokens:,} |")
    lines += ["", "| seed | uncurated | curated | difference |", "|---|---:|---:|---:|"]
    losses = {(row.arm, row.seed): row.loss for row in outcomes}
    differences = []
    for seed in sorted({row.seed for row in outcomes}):
        pair = [losses.get((arm, seed)) for arm in ARMS]
        if pair[0] is not None and pair[1] is not None:
            differences.append(pair[1] - pair[0])
            lines.append(f"| {seed} | {pair[0]:.4f} | {pair[1]:.4f} | {differences[-1]:+.4f} |")
    if differences:
        mean = estimate(differences)
        lines.append(
            f"\nCurated minus uncurated: {mean.mean:+.4f} ± {mean.se:.4f} nats a token, {len(differences)} seeds"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the study and write `results.json` and `results.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/studies/curation"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=150, help="optimizer steps of each run")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    corpora = make_corpora(out / "corpora")
    outcomes: list[Outcome] = []
    for seed in arguments.seeds:
        for arm in ARMS:
            outcomes.append(run(arm, seed, arguments.steps, corpora, out))
            result = table(outcomes, corpora)
            print(result, flush=True)
            write_durably(out / "results.json", json.dumps([row._asdict() for row in outcomes]).encode())
            write_durably(out / "results.md", f"{result}\n".encode())


if __name__ == "__main__":
    main()
