"""IMO-AnswerBench: 400 olympiad problems with short answers."""

from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import MathTruth, Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark, Rule
from step3vl.evaluation.extraction.verified import final_part, score_by_truth
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.judgements import read_yes_no
from step3vl.evaluation.prompts import ask, user_message


class IMOAnswerBench(JudgedBenchmark):
    """Answers that are equal as expressions are right; on all others, sets and formulas in words, a judge decides."""

    about = About(
        name="imo-answerbench",
        title="IMO-AnswerBench",
        paper="https://arxiv.org/abs/2511.01846",
        licence="CC BY 4.0",
        items=400,
        repeats=4,
        family="boxed",
        metric="accuracy",
        files=(DataFile("answerbench.csv", "https://github.com/google-deepmind/superhuman, imobench", "0.2 MB"),),
        modality="text",
        judge="gemini-2.5-pro",
        notes=(
            "The report gives one response to each problem, but its numbers only fit 400 problems with four.",
            "Version 1 of the problems; version 2 corrects some and drops two.",
            "The judge's prompt is a paraphrase of the authors'; it sees the final answer only.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for record in read_records(path):
            require_fields(record, ("Problem ID", "Problem", "Short Answer", "Category"), path)
            message = user_message(ask("boxed", record["Problem"]))
            fields = {"problem": record["Problem"]}
            id, answer, category = record["Problem ID"], record["Short Answer"], record["Category"]
            yield Item(id, (message,), answer, category=category, fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        score = score_by_truth(MathTruth(expression=item.answer.strip().strip("$")), response)
        return score if score.verdict == "correct" else Score.unparsable("not equal by rule", "needs a judge")

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        text = (
            "Decide whether a final answer to a problem is equivalent to the reference answer. Compare the "
            "mathematical meaning, not the notation; an answer that is incomplete or has further values is not "
            "equivalent.\n\n"
            f"# Problem\n{item.fields['problem']}\n\n# Reference answer\n{item.answer}\n\n"
            f"# Final answer\n{final_part(response)[0]}\n\nGive a short reason. Then end with a line "
            "that is YES or NO."
        )
        return (user_message(text),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        answer = read_yes_no(judgement)
        if answer is None:
            return Score.unparsable("the judge said neither YES nor NO")
        return Score.of(answer, final_part(response)[0], "the judge decides")


BENCHMARK = IMOAnswerBench()
