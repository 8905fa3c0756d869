"""The plan of a training run: mixture, order and packs."""

from step3vl.data.plan.dealing import PARTITIONS, deal, homes
from step3vl.data.plan.index_rows import DatasetIndex, FilterCount, IndexRows, PlanIndex, index_opener
from step3vl.data.plan.mixture import Mixture, MixtureSource, Oversize, PlanPhase, choose_source
from step3vl.data.plan.packing import PackPiece, best_fit, cut
from step3vl.data.plan.plan import CURSOR_VERSION, WINDOW, Cursor, Pack, PackItem, Plan, PlanReader
from step3vl.data.plan.stream import StreamState

__all__ = [
    "CURSOR_VERSION",
    "PARTITIONS",
    "WINDOW",
    "Cursor",
    "DatasetIndex",
    "FilterCount",
    "IndexRows",
    "Mixture",
    "MixtureSource",
    "Oversize",
    "Pack",
    "PackItem",
    "PackPiece",
    "Plan",
    "PlanIndex",
    "PlanPhase",
    "PlanReader",
    "StreamState",
    "best_fit",
    "choose_source",
    "cut",
    "deal",
    "homes",
    "index_opener",
]
