"""Do You See Me: tests of human visual perception, generated in 2D and 3D."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.extraction.counts import read_count
from step3vl.evaluation.extraction.letters import read_yes_no
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored
from step3vl.evaluation.prompts import system_message, user_message
from step3vl.grading import marked_answer
from step3vl.grading.extraction import phrased_answer


@dataclass(frozen=True)
class Task:
    """A task: its folder, its name in the results, what its answers are, and its question where the file has none."""

    folder: str
    name: str
    kind: str
    question: str = ""


_TARGET = "The target is at the top; the options 1, 2, 3 and 4 are below it. Which {}? Answer with its number."
TASKS = (
    Task("2D_DoYouSeeMe/geometric_dataset", "shape discrimination", "number"),
    Task("2D_DoYouSeeMe/color_and_shape_disambiguation", "shape and colour discrimination", "number"),
    Task(
        "2D_DoYouSeeMe/visual_form_constancy", "form constancy", "number",
        _TARGET.format("is the target, perhaps in another size, place or orientation"),
    ),
    Task("2D_DoYouSeeMe/letter_disambiguation", "letter disambiguation", "letters", "Which letters are there?"),
    Task("2D_DoYouSeeMe/visual_figure_ground", "figure-ground", "number", _TARGET.format("contains the target")),
    Task("2D_DoYouSeeMe/visual_closure", "closure", "number", _TARGET.format("gives the target when completed")),
    Task("2D_DoYouSeeMe/visual_spatial", "spatial", "number"),
    Task("3D_DoYouSeeMe/3D_shape_discrimination", "shape discrimination (3D)", "number"),
    Task("3D_DoYouSeeMe/3D_color_and_shape_disambiguation", "shape and colour discrimination (3D)", "number"),
    Task("3D_DoYouSeeMe/3D_visual_form_constancy", "form constancy (3D)", "yes or no"),
    Task("3D_DoYouSeeMe/3D_letter_disambiguation", "letter disambiguation (3D)", "letters"),
    Task("3D_DoYouSeeMe/3D_visual_spatial", "spatial (3D)", "number"),
)  # fmt: skip
_INSTRUCTIONS = {
    "number": "You are tested on visual perception. End with a line 'Answer: ' and the number, in digits only.",
    "letters": "You are tested on visual perception. End with a line 'Answer: ' and the letters without spaces.",
    "yes or no": "You are tested on visual perception. End with a line 'Answer: Yes' or 'Answer: No'.",
}


class DoYouSeeMe(Benchmark):
    """Twelve tasks, each a table and its images. There is one rule: the short answer must be the same."""

    about = About(
        name="do-you-see-me",
        title="DoYouSeeMe",
        paper="https://github.com/microsoft/Do-You-See-Me",
        licence="CDLA-Permissive-2.0 (data), MIT (code)",
        items=2613,
        repeats=4,
        family="official",
        metric="mean over the twelve tasks",
        files=tuple(
            file
            for task in TASKS
            for file in (
                DataFile(f"{task.folder}/dataset_info.csv", "https://github.com/microsoft/Do-You-See-Me", "130 kB"),
                DataFile(f"{task.folder}/*.png", "the scripts of the repository, which render them", "20 MB", True),
            )
        ),
        notes=(
            "2,117 questions in 2D and 496 in 3D. Four tables in 2D have no questions; theirs are worded here.",
            "Images of the 2D tables are named .svg; their .png renderings beside them are read.",
            "`micro` is the accuracy over items.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for task in TASKS:
            path = find(data, f"{task.folder}/dataset_info.csv", self.about)
            for number, record in enumerate(read_records(path)):
                require_fields(record, ("filename", "answer"), path)
                question = record.get("question") or task.question
                if not question:
                    raise UserError(f"{path}: a record has no field 'question'; is it the official file?")
                name = f"{Path(record['filename']).stem}.png"
                values = (image_bytes(name, data / task.folder),) if images else ()
                messages = (system_message(_INSTRUCTIONS[task.kind]), user_message(question, len(values)))
                group = f"{task.folder}/{record['filename']}"
                fields = {"kind": task.kind}
                id = f"{task.folder}/{number}"
                yield Item(id, messages, str(record["answer"]).strip(), values, group, task.name, fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if item.fields["kind"] == "number":
            number = read_count(response)
            if number is None:
                return Score.unparsable("no number")
            return Score.of(f"{number:g}" == item.answer, f"{number:g}", "number")
        if item.fields["kind"] == "yes or no":
            reading = read_yes_no(response)
            if reading.letter is None:
                return Score.unparsable(reading.trace)
            return Score.of(reading.letter == item.answer[:1].upper(), reading.letter, reading.trace)
        final = marked_answer(response) or phrased_answer(response)
        text = (response if final is None else final).strip().partition("\n")[0]
        letters = "".join(character for character in text if character.isalnum()).upper()
        if not letters or (final is None and len(letters) > 8):
            return Score.unparsable("no letters after 'Answer:'")
        return Score.of(letters == item.answer.upper(), letters[:100], "letters")

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        tasks = metrics.categories.values()
        mean = sum(tasks) / len(tasks) if tasks else 0.0
        return replace(metrics, values={"accuracy": mean, "micro": metrics.value})


BENCHMARK = DoYouSeeMe()
