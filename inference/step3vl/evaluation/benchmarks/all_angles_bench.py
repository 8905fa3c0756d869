"""All-Angles-Bench: the same scene from several cameras; many questions have a rephrased twin."""

from collections.abc import Sequence
from dataclasses import replace

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.item import Metrics, Scored
from step3vl.evaluation.multiple_choice import Columns, MultipleChoice, Record, groups_correct, is_missing


class AllAnglesBench(MultipleChoice):
    """Twins share a pair of indexes; both right is the authors' measure of robustness (`pairs`)."""

    about = About(
        name="all-angles-bench",
        title="All-Angles-Bench",
        paper="https://github.com/Chenyu-Wang567/All-Angles-Bench",
        licence="MIT",
        items=2132,
        repeats=4,
        family="final-option",
        metric="right of all items",
        files=(
            DataFile("data.json", "https://huggingface.co/datasets/ch-chenyu/All-Angles-Bench", "1.5 MB"),
            DataFile("**/*.jpg", "the same; EgoHumans and Ego-Exo4D have terms of their own", "2 GB", optional=True),
        ),
        notes=(
            "All eleven numbers of the paper are multiples of 1/170 or 1/680: it seems to have used 170 items with 4 "
            "responses (1 with PaCoRe), and does not say which of the 2,132.",
        ),
    )
    columns = Columns(options=("A", "B", "C", "D"), images=("image_path",), category="category")

    def group(self, record: Record, number: int) -> str:
        twin = record["index"] if is_missing(record.get("pair_idx")) else record["pair_idx"]
        return "-".join(sorted((str(record["index"]), str(twin))))

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        metrics = super().summarise(scored)
        sizes: dict[str, set[str]] = {}
        for each in scored:
            sizes.setdefault(each.item.group, set()).add(each.item.id)
        twins = [each for each in scored if len(sizes[each.item.group]) == 2]
        correct, pairs = groups_correct(twins, [each.item.group for each in twins])
        values = {**metrics.values, **({"pairs": 100 * correct / pairs} if pairs else {})}
        return replace(metrics, values=values, counts={**metrics.counts, "pairs_correct": correct, "pairs": pairs})


BENCHMARK = AllAnglesBench()
