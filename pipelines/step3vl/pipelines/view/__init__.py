"""Looking at a build while it runs: its progress in the terminal, as a page and as metrics."""

from step3vl.pipelines.view.metrics import PrometheusPort
from step3vl.pipelines.view.page import ProgressPage
from step3vl.pipelines.view.terminal import LogLines, TerminalTable
from step3vl.pipelines.view.watcher import Display, NoWatch, Watch, watch_build

__all__ = [
    "Display",
    "LogLines",
    "NoWatch",
    "ProgressPage",
    "PrometheusPort",
    "TerminalTable",
    "Watch",
    "watch_build",
]
