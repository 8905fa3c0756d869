"""Arena-Hard v2: hard prompts of users, judged beside the answers of a baseline."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.data.errors import UserError
from step3vl.data.sample import Message
from step3vl.evaluation.benchmark import About, DataFile, JudgedBenchmark
from step3vl.evaluation.files import find, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, by_category
from step3vl.evaluation.prompts import user_message

_VERDICT = re.compile(r"\[\[\s{0,2}(A>>B|A>B|A=B|B>A|B>>A)\s{0,2}\]\]")
_BASELINES = {"hard_prompt": "o3-mini-2025-01-31", "creative_writing": "gemini-2.0-flash-001"}
_DECISIVE = 3
"""What a verdict of "much better" counts."""
_SOURCE = "https://github.com/lmarena/arena-hard-auto, data/arena-hard-v2.0"


class ArenaHardV2(JudgedBenchmark):
    """The score is the rate of wins over the baseline on the hard prompts; a tie is half a win."""

    about = About(
        name="arena-hard-v2",
        title="Arena-Hard-V2",
        paper="https://arxiv.org/abs/2406.11939",
        licence="Apache-2.0",
        items=750,
        repeats=1,
        family="official",
        metric="rate of wins over o3-mini on the 500 hard prompts, 'much better' counting three times",
        files=(
            DataFile("question.jsonl", _SOURCE, "1 MB"),
            DataFile("model_answer/o3-mini-2025-01-31.jsonl", _SOURCE, "4.2 MB"),
            DataFile("model_answer/gemini-2.0-flash-001.jsonl", _SOURCE, "1.5 MB", optional=True),
        ),
        modality="text",
        judge="gpt-4.1",
        notes=(
            "Without style control, for which the leaderboard fits one regression over the games of all its models; a "
            "single run does not have them. Without creative writing where the answers of its baseline are missing.",
            "The judge's prompt is a paraphrase of the authors'; it is asked to solve the task itself first.",
        ),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        path = find(data, "question.jsonl", self.about)
        answers = {category: _answers(data, model, self.about) for category, model in _BASELINES.items()}
        for record in read_records(path):
            require_fields(record, ("uid", "category", "prompt"), path)
            category = record["category"]
            by_id = answers.get(category)
            if by_id is None:
                continue
            baseline = by_id.get(record["uid"])
            if baseline is None:
                raise UserError(f"{path}: {_BASELINES[category]} has no answer to {record['uid']}; download it again")
            message = user_message(record["prompt"])
            yield Item(record["uid"], (message,), None, category=category, fields={"baseline": baseline})

    def judge_messages(self, item: Item, response: str) -> tuple[Message, ...]:
        """The first of two games: the response is assistant A."""
        return _game(item, response, item.fields["baseline"])

    def judge_calls(self, item: Item, response: str) -> tuple[tuple[Message, ...], ...]:
        """Both orders, as the authors ask: judges prefer what stands first, or last."""
        return self.judge_messages(item, response), _game(item, item.fields["baseline"], response)

    def read_judgement(self, item: Item, response: str, judgement: str) -> Score:
        """The score of the first game alone."""
        return self.read_judgements(item, response, (judgement,))

    def read_judgements(self, item: Item, response: str, judgements: Sequence[str]) -> Score:
        """The share of wins over both games; a decisive verdict counts more often."""
        wins, weight, trace = 0.0, 0, []
        for ours, judgement in zip("AB", judgements, strict=False):
            verdicts = _VERDICT.findall(judgement)
            if not verdicts:
                return Score.unparsable("the judge gave no verdict")
            games = _DECISIVE if ">>" in verdicts[-1] else 1
            won = 0.5 if "=" in verdicts[-1] else float(verdicts[-1].startswith(ours))
            wins, weight = wins + games * won, weight + games
            trace.append(f"as {ours}: {verdicts[-1]}")
        return Score.graded(wins / weight, None, *trace, weight=weight)

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        rates = by_category(scored, _win_rate)
        headline = rates.get("hard_prompt", next(iter(rates.values()), 0.0))
        return Metrics("win_rate", {"win_rate": headline}, metrics.counts, rates)


def _answers(data: Path, model: str, about: About) -> dict[str, str] | None:
    file = next(file for file in about.files if model in file.name)
    if file.optional and not (data / file.name).exists():
        return None
    path = find(data, file.name, about)
    answers = {}
    for record in read_records(path):
        require_fields(record, ("uid", "messages"), path)
        content = record["messages"][-1]["content"]
        answers[record["uid"]] = content["answer"] if isinstance(content, dict) else content
    return answers


def _game(item: Item, first: str, second: str) -> tuple[Message, ...]:
    prompt = item.messages[0].content[0]
    text = (
        "Judge the answers of two assistants to a user's prompt. First write your own answer to it. Then compare "
        "both with yours: find mistakes, and weigh how helpful, relevant and concise they are, and then how "
        "creative, and what they leave out. Do not let their order or length decide.\n\n"
        f"# Prompt\n{prompt.text if prompt.type == 'text' else ''}\n\n# Answer of assistant A\n{first}\n\n"
        f"# Answer of assistant B\n{second}\n\nEnd with one of: [[A>>B]] (A is much better), [[A>B]] (A is "
        "better), [[A=B]] (they are about equal), [[B>A]] (B is better), [[B>>A]] (B is much better)."
    )
    return (user_message(text),)


def _win_rate(scored: Sequence[Scored]) -> float:
    """Percent; a response that the judge gave no verdict on has lost both games."""
    weights = [each.score.details.get("weight", 2) for each in scored]
    wins = sum(weight * each.score.value for weight, each in zip(weights, scored, strict=True))
    return 100 * wins / sum(weights) if weights else 0.0


BENCHMARK = ArenaHardV2()
