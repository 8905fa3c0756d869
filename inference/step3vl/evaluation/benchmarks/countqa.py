"""CountQA: counting in cluttered scenes of everyday life, with several questions to an image."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.counting import Counting, as_count
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item
from step3vl.evaluation.multiple_choice import listed
from step3vl.evaluation.prompts import ask, user_message


class CountQA(Counting):
    """Questions on one image are a group."""

    about = About(
        name="countqa",
        title="CountQA",
        paper="https://huggingface.co/datasets/Jayant-Sravan/CountQA",
        licence="see the data card",
        items=1528,
        repeats=4,
        family="final-answer",
        metric="right of 1528, the number exactly",
        files=(DataFile("**/test-*.parquet", "https://huggingface.co/datasets/Jayant-Sravan/CountQA", "1 GB"),),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        number = 0
        for path in find_all(data, self.about.files[0].name, self.about):
            for record in read_records(path):
                require_fields(record, ("questions", "answers"), path)
                questions, answers = listed(record["questions"]), listed(record["answers"])
                if len(questions) != len(answers):
                    problem = f"{len(questions)} questions and {len(answers)} answers"
                    raise UserError(f"{path}, record {number + 1}: {problem}; download the file again")
                values = (image_bytes(record.get("image"), data),) if images else ()
                for index, (question, answer) in enumerate(zip(questions, answers, strict=True)):
                    count = as_count(answer)
                    if count is None:
                        raise UserError(f"{path}, record {number + 1}: its answer {answer!r} is no number")
                    message = user_message(ask(self.about.family, str(question)), len(values))
                    yield Item(f"{number}/{index}", (message,), count, values, group=str(number))
                number += 1


BENCHMARK = CountQA()
