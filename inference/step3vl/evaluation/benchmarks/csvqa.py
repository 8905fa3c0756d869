"""CSVQA: scientific exercises of Chinese schools, with one or several right options, or an open answer."""

import re
from collections.abc import Iterator
from pathlib import Path

from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark, Rule
from step3vl.evaluation.files import find, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Score
from step3vl.evaluation.multiple_choice import is_missing, listed
from step3vl.evaluation.prompts import user_message

_JUDGEMENT = re.compile(r'"?check"?\s*[:：]\s*([01])')
_SUBJECTS = {"Math": "数学", "Biology": "生物", "Chemistry": "化学", "Physics": "物理"}
_CHOICE = (
    "这是一道中国高中{subject}题：\n{question}\n题目可能有一个或多个正确选项。请根据题目和图片求解，"
    r"最后以“所以最终答案是：\boxed{{选项字母}}”结束，多个字母用英文逗号连接。"
)
_OPEN = (
    "这是一道中国高中{subject}题：\n{question}\n请根据题目和图片求解，答案用一个词或短语表示，"
    r"最后以“所以最终答案是：\boxed{{}}”结束。"
)
_JUDGE = (
    "判断两段文字的最终答案是否一致。一致为 1，不一致为 0。\n\n文字一：\n{response}\n\n文字二：\n{answer}\n\n"
    '只返回 JSON：{{"check": 0}} 或 {{"check": 1}}'
)


class CSVQA(JudgedBenchmark):
    """Letters are compared by a rule, all of them; open answers go to the judge."""

    about = About(
        name="csvqa",
        title="CSVQA",
        paper="https://github.com/SkyworkAI/CSVQA",
        licence="see the data card",
        items=1378,
        repeats=4,
        family="official",
        metric="right of 1378",
        files=(DataFile("csvqa_data.tsv", "https://huggingface.co/datasets/Skywork/CSVQA", "100 MB"),),
        judge="a local model; the authors used InternVL3-78B",
        notes=(
            "The prompts are the authors' in other words, in Chinese. The paper has the question in the image.",
            "An option is right only with all letters of the answer and no other.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, self.about.files[0].name, self.about)
        for record in read_records(path):
            require_fields(record, ("id", "zh_question", "answer", "question_type", "category", "image"), path)
            open_question = str(record["question_type"]).lower() == "open"
            question = str(record["zh_question"]).replace("<image>", "").strip()
            if not open_question:
                names = [name for name in "ABCD" if not is_missing(record.get(f"zh_{name}"))]
                question = "\n".join((question, *(f"{name}. {record[f'zh_{name}']}" for name in names)))
            template = _OPEN if open_question else _CHOICE
            subject = _SUBJECTS.get(record["category"], record["category"])
            values = tuple(image_bytes(value, data) for value in listed(record["image"])[:1]) if images else ()
            message = user_message(template.format(subject=subject, question=question), len(values))
            fields = {"open": open_question, "question": question}
            answer = str(record["answer"]).strip()
            yield Item(str(record["id"]), (message,), answer, values, category=record["category"], fields=fields)

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        if item.fields["open"]:
            return Score.unparsable("needs a judge")
        box = _last_box(response)
        if box is None:
            return Score.unparsable("no box")
        letters = "".join(letter for letter in "ABCD" if letter in box)
        if not letters and rule == "strict":
            return Score.unparsable("no letter in the last box")
        return Score.of(letters == "".join(sorted(set(item.answer) & set("ABCD"))), letters, "last box")

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        return (user_message(_JUDGE.format(response=response, answer=item.answer)),)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        match = _JUDGEMENT.search(judgement)
        return Score.of(match[1] == "1", None, "judge") if match else Score.unparsable("the judge gave no verdict")


def _last_box(response: str) -> str | None:
    r"""What the last `\boxed{` holds, up to the first closing brace, as the authors read it; None without one."""
    box, end = None, 0
    while (start := response.find(r"\boxed{", end)) >= 0 and (end := response.find("}", start)) >= 0:
        box = response[start + len(r"\boxed{") : end]
    return box


BENCHMARK = CSVQA()
