"""What the pages are about: a dataset, and perhaps another build of it."""

from functools import partial

from step3vl.data.dataset import Dataset
from step3vl.data.inspect import TableSection, summarise
from step3vl.data.inspect.tables import summary_tables, totals_table
from step3vl.pipelines.view.viewer.background import Background
from step3vl.pipelines.view.viewer.build import Build, Listed
from step3vl.pipelines.view.viewer.changes import Changes
from step3vl.pipelines.view.viewer.clusters import find_clusters
from step3vl.pipelines.view.viewer.drops import Drops
from step3vl.pipelines.view.viewer.scan import Missing

SECONDS = 0.6  # of a search


class Viewer:
    """A dataset to browse as `this`, and perhaps another build as `other`.

    Args:
        dataset: The dataset.
        other: The other build.
        seconds: After which a search stops.
    """

    def __init__(self, dataset: Dataset, other: Dataset | None = None, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        opened = {"this": dataset} | ({"other": other} if other is not None else {})
        self.builds = {name: Build(each) for name, each in opened.items()}
        self.drops = {name: Drops(each) for name, each in opened.items()}
        self.contents = {name: Background(partial(_contents, each)) for name, each in opened.items()}
        self.clusters = {name: Background(partial(find_clusters, each)) for name, each in opened.items()}
        self.changes = None if other is None else Background(partial(Changes, other, dataset))

    def build(self, name: str) -> Build:
        """A build by its name. Raises Missing."""
        if name not in self.builds:
            raise Missing(f"There is no build {name}; --compare opens another one.")
        return self.builds[name]

    def find(self, name: str, sample_id: str) -> tuple[str, Listed]:
        """A sample, and the build that has it: the named one, or else another. Raises Missing."""
        self.build(name)
        if len(sample_id) != 32 or not set(sample_id) <= set("0123456789abcdef"):
            raise Missing(f"{sample_id} is no id of a sample: that has 32 hexadecimal digits.")
        for each in sorted(self.builds, key=lambda each: each != name):
            row = self.builds[each].find(sample_id)
            if row is not None:
                return each, self.builds[each].read([row])[0]
        raise Missing(f"There is no sample {sample_id}: it was dropped, or is of another dataset.")


def _contents(dataset: Dataset) -> list[TableSection]:
    return [totals_table(dataset), *summary_tables(summarise(dataset))]
