"""Where a build keeps everything between its steps, as its workers need it."""

from typing import NamedTuple

from step3vl.data.storage import DEFAULT_STORE, Store, StoreConfig
from step3vl.pipelines.core.heartbeats import NO_HEARTBEATS, Heartbeats
from step3vl.pipelines.core.runner import SegmentRunner
from step3vl.pipelines.core.segment import Segment


class Staging(NamedTuple):
    """Travels to workers with the transforms of a pipeline.

    Attributes:
        root: URL of the folder of everything between steps, without a slash at its end.
        base: The absolute folder that relative patterns of inputs start from.
        store: How remote stores are used.
        heartbeats: Where the workers of the pipeline report that they live.
    """

    root: str
    base: str
    store: StoreConfig = DEFAULT_STORE
    heartbeats: Heartbeats = NO_HEARTBEATS

    def open(self) -> Store:
        """The store of the root. A worker that opens it reports from then on that it lives."""
        self.heartbeats.start()
        return Store(self.root, self.store)

    def runner(self, segment: Segment) -> SegmentRunner:
        """A runner of a segment for this process."""
        return SegmentRunner(segment, self.root, self.base, self.store)
