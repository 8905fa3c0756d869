"""We-Math: 525 problems with the questions of their steps; the score asks whether the steps were mastered, too."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import Reading, read_option
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored
from step3vl.evaluation.multiple_choice import score_reading
from step3vl.evaluation.prompts import ask, user_message

_LETTERS = "ABCDEFGH"
_MARKS = str.maketrans("", "", "<>:.")
_FIELDS = ("ID", "key", "question number", "question", "option", "answer", "image_path")


class WeMath(Benchmark):
    """A problem of several steps and the questions of each step are one group, which is sampled as a whole."""

    about = About(
        name="we-math",
        title="We-Math",
        paper="https://github.com/We-Math/We-Math",
        licence="CC BY-NC 4.0",
        items=1740,
        repeats=4,
        family="final-option",
        metric="score of the 525 problems: complete mastery, and half for inadequate generalization (strict)",
        files=(
            DataFile("testmini.json", "https://github.com/We-Math/We-Math, data/testmini.json", "3 MB"),
            DataFile("**/image/*.png", "https://github.com/We-Math/We-Math, data", "41 MB", optional=True),
        ),
        notes=(
            "The paper does not say whether its score is the strict or the loose one; both are given.",
            "Strict: a problem solved although a step was missed is rote memorization. Loose: only if all were.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "testmini.json", self.about)
        folder = data / "images" if (data / "images").is_dir() else data  # as on Hugging Face, or in the repository
        for record in read_records(path):
            require_fields(record, _FIELDS, path)
            image = (image_bytes(record["image_path"], folder),) if images else ()
            yield _item(record, image)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "official":
            reading = Reading(read_answer(response), "first letter after the last 'Answer'")
        else:
            reading = read_option(response, [""] * 5)
        return score_reading(item, reading)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The score, strict and loose, the shares of the four grades in percent, and the plain accuracy."""
        problems: dict[tuple[str, int], dict[str, bool]] = {}
        for each in scored:
            answers = problems.setdefault((each.item.group, each.repeat), {})
            answers[each.item.fields["step"]] = each.score.verdict == "correct"
        grades = [_grade(answers) for answers in problems.values() if "multi" in answers and len(answers) > 2]
        counts = {
            name: sum(grade == name for grade in grades)
            for name in ("insufficient knowledge", "inadequate generalization", "mastery", "partly solved", "by rote")
        }
        # Solved without all of its steps: by rote if strict; if loose, only where no step was right.
        by_rote = {"strict": counts["partly solved"] + counts["by rote"], "loose": counts["by rote"]}
        total = len(grades) or 1
        values = {}
        for name, rote in by_rote.items():
            mastery = counts["mastery"] + counts["partly solved"] + counts["by rote"] - rote
            values[f"score ({name})"] = 100 * (mastery + 0.5 * counts["inadequate generalization"]) / total
            values[f"complete mastery ({name})"] = 100 * mastery / total
            values[f"rote memorization ({name})"] = 100 * rote / ((mastery + rote) or 1)
        for name in ("insufficient knowledge", "inadequate generalization"):
            values[name] = 100 * counts[name] / total
        metrics = super().summarise(scored)
        values["accuracy"] = metrics.value
        counts |= {"problems": len(grades), **{name: metrics.counts[name] for name in ("items", "unparsable")}}
        return Metrics("score (strict)", values, counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The official template: an array of the questions with `response`."""
        for record in read_records(path):
            require_fields(record, (*_FIELDS, "response"), path)
            yield _item(record, ()), Recorded(str(record["question number"]), str(record["response"]))


def read_answer(response: str) -> str | None:
    """The letter with which the text after the last "Answer" begins, as the official script has it."""
    text = response.split("Answer")[-1].strip().translate(_MARKS).strip()
    return text[0] if text and text[0] in _LETTERS else None


def _grade(answers: dict[str, bool]) -> str:
    """The grade of a problem by its steps and its final question (`multi`)."""
    steps = [correct for step, correct in answers.items() if step != "multi"]
    if answers["multi"]:
        return "mastery" if all(steps) else "partly solved" if any(steps) else "by rote"
    return "inadequate generalization" if all(steps) else "insufficient knowledge"


def _item(record: dict, images: tuple[bytes | Path, ...]) -> Item:
    options = "\n".join(option.strip() for option in str(record["option"]).split(";"))
    return Item(
        id=str(record["question number"]),
        messages=(user_message(ask("final-option", f"{record['question']}\n{options}"), images=1),),
        answer=record["answer"],
        images=images,
        group=record["ID"],
        category=record["key"],
        fields={"step": record["key"].rpartition("_")[2]},
    )


BENCHMARK = WeMath()
