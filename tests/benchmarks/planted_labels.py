"""How many planted errors a label check finds: one character of each label is changed, and both labels are checked.

    .venv/bin/python tests/benchmarks/planted_labels.py DATASET --task 'ocr.image_to_code.formula_code' --samples 60

DATASET is a finished one. In a table or an infographic a digit of a value is changed, in a formula a digit or a letter
that is no part of a command, in a score a note or a length, in a page or a line any digit or letter. `wrong` of the
labels as they are should be 0, `wrong` of the changed ones all of them; what is unchecked is neither.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

from step3vl.data.dataset import Dataset
from step3vl.data.inspect import read_samples, sample_tasks
from step3vl.data.sample import Sample, TextPart, TranscriptTruth
from step3vl.pipelines.core.domain import Unchecked
from step3vl.pipelines.label_check import Checks

_LETTERS = "abcdefghkmnpqrstuvwxyz"
_NOTES = "abcdefg"
_NO_NOTE = re.compile(r"^[A-Z]:.*$|z", re.MULTILINE)
_COMMAND = re.compile(r"\\[A-Za-z]+|[A-Za-z]{2,}")  # what no single letter of a formula is in
_TYPST_CODE = re.compile(r"^(?!.*\[).*$|[^\[\]]*(?=\[)|\][^\[\]]*", re.MULTILINE)
_LATEX_CODE = re.compile(r"^(?!.*&).*$|\{\d+\}", re.MULTILINE)


def spots(label: str, task: str) -> list[int]:
    """Where a character of a label may be changed without another meaning of its code."""
    subject = task.split(".")[-1]
    kinds: tuple[Callable[[str], bool], ...]
    if subject.startswith("formula"):
        hidden, kinds = _spans(_COMMAND, label), (str.isdigit, str.isalpha)
    elif label.startswith("X:"):
        hidden, kinds = _spans(_NO_NOTE, label), (str.isdigit, str.isalpha)
    elif label.startswith("#table("):
        hidden, kinds = _spans(_TYPST_CODE, label), (str.isdigit,)
    elif label.startswith("\\begin{tabular}"):
        hidden, kinds = _spans(_LATEX_CODE, label), (str.isdigit,)
    elif subject.startswith(("table", "infographic")):
        hidden, kinds = (
            _spans(re.compile(r"<[^<>]*>|^\d+\. |^#.*$|out of 10|^\*.*$", re.MULTILINE), label),
            (str.isdigit,),
        )
    else:
        hidden, kinds = _spans(re.compile(r"<[^<>]*>|\[\w+\]"), label), (str.isdigit, str.isalpha)
    return [
        place
        for place, character in enumerate(label)
        if character.isascii() and place not in hidden and any(kind(character) for kind in kinds)
    ]


def _spans(pattern: re.Pattern[str], text: str) -> set[int]:
    return {place for match in pattern.finditer(text) for place in range(*match.span())}


def planted(sample: Sample, rng: random.Random) -> Sample | None:
    """A sample whose label says another character somewhere; None where there is none to change."""
    label = sample.answer()
    places = spots(label, sample.task)
    if not places or sample.messages is None:
        return None
    place = rng.choice(places)
    letters = _NOTES if label.startswith("X:") else _LETTERS
    others = "0123456789" if label[place].isdigit() else letters
    other = rng.choice([character for character in others if character != label[place].lower()])
    if label[place].isupper() and letters is _NOTES:
        other = other.upper()  # of the same octave
    changed = label[:place] + other + label[place + 1 :]
    *before, last = sample.messages
    messages = (*before, last.model_copy(update={"content": (TextPart(text=changed),)}))
    truth = TranscriptTruth(text=changed) if isinstance(sample.truth, TranscriptTruth) else sample.truth
    return sample.model_copy(update={"messages": messages, "truth": truth})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--task", default="ocr.*", help="only tasks that match this shell pattern")
    parser.add_argument("--samples", type=int, default=60, help="of each task, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print each label that is not judged as it should be")
    args = parser.parse_args()
    dataset, rng = Dataset.open(args.dataset), random.Random(args.seed)
    checks = Checks(dataset)
    table = Table(
        "task", "labels", "right", "wrong", "unchecked", title="labels as they are, and with a planted error"
    )
    for task, located in sample_tasks(dataset, args.samples, args.seed, args.task).items():
        pairs = [(each, planted(each, rng)) for each in read_samples(dataset, located)]
        for name, place in (("as they are", 0), ("planted", 1)):
            counts = Counter[str]()
            for pair in pairs:
                sample = pair[place]
                if sample is None or pair[1] is None:
                    continue
                verdict = _verdict(checks, sample)
                counts[verdict] += 1
                if args.show and verdict != ("right", "wrong")[place]:
                    print(f"{name}: {verdict}: {sample.id}: {sample.answer()[:300]!r}", flush=True)
            table.add_row(task, name, *(str(counts[key]) for key in ("right", "wrong", "unchecked")))
    Console(width=110).print(table)


def _verdict(checks: Checks, sample: Sample) -> str:
    try:
        return "right" if checks.of(sample)(sample) is None else "wrong"
    except Unchecked:
        return "unchecked"
    except (ValueError, RuntimeError):  # code that does not compile any more
        return "unchecked"


if __name__ == "__main__":
    main()
