"""HallusionBench: yes or no on charts, maps and illusions, some of them edited, some asked without the image."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.letters import read_yes_no
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, mean_percent
from step3vl.evaluation.multiple_choice import Record, groups_correct, score_reading
from step3vl.evaluation.prompts import user_message
from step3vl.evaluation.records import RecordedRun

_KEY = ("category", "subcategory", "set_id", "figure_id", "question_id", "visual_input")
_PROMPT = "{question}\nPlease answer yes or no."


class HallusionBench(Benchmark):
    """Every question has variants on other figures, and every figure has several questions; all must be right.

    Questions of category VS with `figure_id` 0 come without an image.
    """

    about = About(
        name="hallusionbench",
        title="HallusionBench",
        paper="https://github.com/tianyi-lab/HallusionBench",
        licence="BSD-3-Clause",
        items=1129,
        repeats=4,
        family="official",
        metric="mean of aAcc, fAcc and qAcc over the questions with an image",
        files=(
            DataFile("HallusionBench.json", "https://github.com/tianyi-lab/HallusionBench", "430 kB"),
            DataFile("hallusion_bench/**/*", "hallusion_bench.zip of the repository", "80 MB", optional=True),
        ),
        notes=(
            "aAcc, qAcc, fAcc, easy and hard are the authors', over all 1,129 questions; `score` is what VLMEvalKit "
            "prints and the paper seems to, over the 951 with an image.",
            "The authors let GPT-4 or people judge responses; in the official rule their recorded verdict counts, and "
            "without one the only one of yes and no among the words.",
            "A judged 'unclear' counts as right where no image was shown.",
            "The README's table truncates: 31.4286 is printed as 31.42.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "HallusionBench.json", self.about)
        for record in read_records(path):
            require_fields(record, (*_KEY, "question", "gt_answer", "filename"), path)
            name = record["filename"]
            values = (image_bytes(name.removeprefix("./"), data / "hallusion_bench"),) if name and images else ()
            message = user_message(_PROMPT.format(question=record["question"].strip()), len(values))
            yield _item(record, "Y" if str(record["gt_answer"]) == "1" else "N", (message,), values)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if rule == "official":
            judgement = item.fields.get("judgement")
            if judgement is not None:
                right = judgement == "1" or (judgement == "2" and not _has_figure(item))
                return Score.of(
                    right, None, {"1": "judged right", "2": "judged unclear"}.get(judgement, "judged wrong")
                )
            words = {word for word in _words(response) if word in ("yes", "no")}
            if len(words) != 1:
                return Score.unparsable("neither yes nor no, or both")
            letter = words.pop()[0].upper()
            return Score.of(letter == item.answer, letter, "the only one among the words")
        return score_reading(item, read_yes_no(response))

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        seen = [each for each in scored if each.item.fields["visual_input"] != "0"]
        groups = {
            "qAcc": _questions(scored),
            "fAcc": _figures([each for each in scored if _has_figure(each.item)]),
            "easy": _questions([each for each in scored if each.item.fields["visual_input"] != "2"]),
            "hard": _questions([each for each in scored if each.item.fields["visual_input"] == "2"]),
        }
        values = {"aAcc": metrics.value} | {name: _percent(*pair) for name, pair in groups.items()}
        values["score"] = (mean_percent(seen) + _percent(*_questions(seen)) + _percent(*_figures(seen))) / 3
        counts = {
            **metrics.counts,
            "questions_correct": groups["qAcc"][0],
            "questions": groups["qAcc"][1],
            "figures_correct": groups["fAcc"][0],
            "figures": groups["fAcc"][1],
        }
        return Metrics("score", values, counts, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The layouts of the repository: questions with `gpt4v_output` and its check, or with `model_prediction`.

        The check is 1 for right, 0 for wrong, 2 for unclear. In the file of 2023 a blank too many and a set that is
        numbered twice are repaired, so that its questions form the groups of the current file.
        """
        for row in read_records(path):
            require_fields(row, _KEY, path)
            row = {**row, "subcategory": row["subcategory"].strip()}
            if (row["subcategory"], row["set_id"], row.get("sample_note")) == ("chart", "10", "box_office"):
                row["set_id"] = "21"  # its number in the current file; another set has 10
            output = row.get("gpt4v_output", row.get("model_prediction"))
            check = row.get("gpt4v_output_human_check")
            answer = "Y" if str(row.get("gt_answer")) == "1" else "N"
            item = _item(row, answer, (), ())
            fields = {} if check is None else {"judgement": str(check)}
            yield item, Recorded(item.id, str(output), fields=fields)


def _item(record: Record, answer: str, messages: tuple[Message, ...], images: tuple[bytes | Path, ...]) -> Item:
    parts = {name: str(record[name]) for name in _KEY}
    id = "/".join(parts[name] for name in _KEY[:5])
    category = f"{parts['category']} {parts['subcategory']}"
    group = f"{category}/{parts['set_id']}"
    return Item(id, messages, answer, images, group, category, parts)


def _has_figure(item: Item) -> bool:
    return not (item.fields["category"] == "VS" and item.fields["figure_id"] == "0")


def _questions(scored: Sequence[Scored]) -> tuple[int, int]:
    """Questions that are right on all their figures, and all questions."""
    return groups_correct(scored, [_group(each.item, "question_id") for each in scored])


def _figures(scored: Sequence[Scored]) -> tuple[int, int]:
    """Figures of which all questions are right, and all figures."""
    return groups_correct(scored, [_group(each.item, "figure_id") for each in scored])


def _group(item: Item, name: str) -> tuple[str, ...]:
    return tuple(item.fields[field] for field in ("category", "subcategory", "set_id", name))


def _percent(correct: int, total: int) -> float:
    return 100 * correct / total if total else 0.0


_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"(?<!\d)\.(?!\d)")
_MOST_STOPS = 32


def _words(response: str) -> list[str]:
    """The words as VLMEvalKit splits them: a mark is removed where any of its kind is beside a blank, else a blank.

    Asterisks and colons stay, so that `**Yes**` is no word that it knows, and it removes only so many full stops.
    """
    text = response.lower()
    plain, removed = text, _THOUSANDS.search(text) is not None
    for mark in _PUNCTUATION:
        beside_blank = f"{mark} " in text or f" {mark}" in text
        plain = plain.replace(mark, "" if removed or beside_blank else " ")
    return _FULL_STOP.sub("", plain, _MOST_STOPS).split()


BENCHMARK = HallusionBench()

_PUBLISHED = {
    "questions_correct": 143, "questions": 455, "figures_correct": 153, "figures": 346, "correct": 760, "items": 1125,
    "qAcc": 100 * 143 / 455, "fAcc": 100 * 153 / 346, "aAcc": 100 * 760 / 1125,
}  # fmt: skip
_NOTE = "the README prints 31.42 (truncated), 44.22 and 67.58; the last counts 4 rows that were not published"

RECORDS = (
    RecordedRun("HallusionBench", "HallusionBench_gpt4v_1125_fixed.json.gz", _PUBLISHED, _NOTE),
    RecordedRun("HallusionBench", "HallusionBench_gpt4v_1125_raw.json.gz", _PUBLISHED, _NOTE),
    RecordedRun(
        "HallusionBench",
        "HallusionBench_gpt4v_269.json.gz",
        {
            "correct": 176, "items": 269, "questions_correct": 32, "questions": 117, "figures_correct": 26,
            "figures": 74, "easy": 100 * 94 / 117, "hard": 100 * 27 / 97,
        },
        "the first release of the questions",
    ),
)  # fmt: skip
