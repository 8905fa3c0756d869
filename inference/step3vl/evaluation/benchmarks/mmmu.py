"""MMMU, validation: college-level questions on 30 subjects, scored by the authors' rule."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, Rule
from step3vl.evaluation.extraction.letters import Reading, read_mmmu
from step3vl.evaluation.extraction.open_answers import matches_mmmu_open, read_mmmu_open, score_strictly
from step3vl.evaluation.files import read_json, require_fields
from step3vl.evaluation.item import Item, Metrics, Recorded, Score, Scored, mean_percent
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, listed
from step3vl.evaluation.prompts import ask, interleaved_message
from step3vl.evaluation.recorded_runs import find_near
from step3vl.evaluation.records import RecordedRun

DOMAINS = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science", "Clinical_Medicine", "Diagnostics_and_Laboratory_Medicine", "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        "Agriculture", "Architecture_and_Engineering", "Computer_Science", "Electronics", "Energy_and_Power",
        "Materials", "Mechanical_Engineering",
    ),
}  # fmt: skip
_DOMAIN = {subject: domain for domain, subjects in DOMAINS.items() for subject in subjects}

FILES = (DataFile("**/validation-*.parquet", "https://huggingface.co/datasets/MMMU/MMMU", "350 MB"),)
"""One file for each subject, or all subjects in a few files."""


class MMMU(MultipleChoice):
    """Questions of multiple choice, and a few open ones."""

    about = About(
        name="mmmu",
        title="MMMU",
        paper="https://github.com/MMMU-Benchmark/MMMU",
        licence="Apache-2.0",
        items=900,
        repeats=4,
        family="final-option",
        metric="right of 900, over all subjects (micro)",
        files=FILES,
        notes=(
            "The official parser picks a random option where it reads none; here such a response is unparsable.",
            "The paper scores by VLMEvalKit's rule: benchmark `mmmu-vlmevalkit`.",
        ),
    )
    columns = Columns(id="id", options="options", images=tuple(f"image_{number}" for number in range(1, 8)))

    def read_official(self, response: str, options: Sequence[str]) -> Reading:
        return read_mmmu(response, options)

    def item(self, record: Record, number: int, path: Path, images: Sequence[bytes | Path]) -> Item:
        require_fields(record, ("id", "question", "question_type", "options", "answer"), path)
        subject = _subject(str(record["id"]))
        if record["question_type"] == "multiple-choice":
            return replace(super().item(record, number, path, images), category=subject)
        answers = [str(answer) for answer in listed(record["answer"])]
        messages = self.messages(record, [], len(images))
        return Item(str(record["id"]), messages, answers, tuple(images), category=subject)

    def messages(self, record: Record, options: Sequence[str], images: int) -> tuple[Message, ...]:
        family = self.about.family if options else "final-answer"
        return (interleaved_message(ask(family, self.question(record, options)), images),)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if "options" in item.fields:
            return super().score(item, response, rule)
        if rule == "official":
            predicted = read_mmmu_open(response)
            text = ", ".join(sorted(map(str, predicted)))[:200]
            return Score.of(matches_mmmu_open(predicted, item.answer), text, "ends of sentences and their numbers")
        return score_strictly(response, item.answer)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        domains = {
            name: [each for each in scored if _DOMAIN.get(each.item.category) == name]
            for name in dict.fromkeys(_DOMAIN[subject] for subject in metrics.categories if subject in _DOMAIN)
        }
        values = {name: mean_percent(group) for name, group in domains.items()}
        choice = sum(each.score.verdict == "correct" and "options" in each.item.fields for each in scored)
        counts = {"choice_correct": choice, "open_correct": metrics.counts["correct"] - choice}
        return Metrics("accuracy", {**metrics.values, **values}, {**metrics.counts, **counts}, metrics.categories)

    def recorded(self, path: Path) -> Iterator[tuple[Item | None, Recorded]]:
        """The layouts of the repository's example outputs.

        - Responses: rows with their options, of a subject or by subject ("parse and evaluate").
        - Final answers: an object from ids to what was parsed already ("evaluation only"); the answers are read from
          `answer_dict_val.json` beside it.
        """
        outputs = read_json(path)
        if isinstance(outputs, dict) and outputs and not isinstance(next(iter(outputs.values())), list):
            yield from self._final_answers(outputs, read_json(find_near(path, "answer_dict_val.json")), path)
            return
        groups = outputs.values() if isinstance(outputs, dict) else [outputs]
        for row in (row for rows in groups for row in rows):
            require_fields(row, ("id", "question_type", "answer", "response"), path)
            options = list(row.get("index2ans", {}).values())
            yield self._recorded_item(row["id"], row["answer"], options), Recorded(row["id"], str(row["response"]))

    def _final_answers(
        self, outputs: Mapping[str, Any], answers: Mapping[str, Any], path: Path
    ) -> Iterator[tuple[Item, Recorded]]:
        for id, answer in outputs.items():
            if id not in answers:
                raise UserError(f"{path}: '{id}' is not in answer_dict_val.json; are both of the same release?")
            key = answers[id]
            options = [""] * 26 if key["question_type"] == "multiple-choice" else []  # the key has no texts
            yield self._recorded_item(id, key["ground_truth"], options), Recorded(id, str(answer))

    def _recorded_item(self, id: str, answer: Any, options: list[str]) -> Item:
        if options:
            return Item(id, (), answer, category=_subject(id), fields={"options": options})
        return Item(id, (), [str(text) for text in listed(answer)], category=_subject(id))


def _subject(id: str) -> str:
    """`validation_Art_Theory_12` is of Art_Theory."""
    return "_".join(id.split("_")[1:-1])


BENCHMARK = MMMU()

RECORDS = (
    RecordedRun(
        "MMMU",
        "llava1.5_13b.total_val_output.json.gz",
        {
            "accuracy": 100 * 330 / 900, "correct": 330, "choice_correct": 328, "open_correct": 2,
            "Art and Design": 52.5, "Humanities and Social Science": 55.0,
        },
        "parsed by the authors; the leaderboard prints 36.4, of another run",
    ),
    RecordedRun(
        "MMMU",
        "llava1.5_13b.responses_by_subject.json.gz",
        {"correct": 329, "unparsable": 2, "choice_correct": 327, "open_correct": 2},
        "of 2 random choices by the official parser 1 is right: 330",
    ),
    RecordedRun(
        "MMMU",
        "qwen_vl.total_val_output.json.gz",
        {
            "accuracy": 100 * 325 / 900, "correct": 325, "choice_correct": 319, "open_correct": 6,
            "Art and Design": 50.0, "Business": 30.0, "Science": 30.0, "Health and Medicine": 34.0,
        },
        "parsed by the authors; the leaderboard prints 35.9, of another run",
    ),
    RecordedRun(
        "MMMU",
        "qwen_vl.responses_by_subject.json.gz",
        {"correct": 309, "unparsable": 48, "choice_correct": 303, "open_correct": 6},
        "of 48 random choices by the official parser 16 are right: 325",
    ),
)  # fmt: skip
