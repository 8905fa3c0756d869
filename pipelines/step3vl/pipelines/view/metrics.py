"""The progress of a build as Prometheus metrics, on a port of the driver."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from step3vl.data.errors import UserError
from step3vl.pipelines.view.progress import BuildProgress


class PrometheusPort:
    """Serves the metrics at `http://HOST:PORT/metrics` until it is closed.

    Args:
        port: 0 for any free one.

    Raises:
        UserError: The port is in use.
    """

    def __init__(self, port: int) -> None:
        self._collector = _Collector()
        registry = CollectorRegistry()
        registry.register(self._collector)
        try:
            self._server, self._thread = start_http_server(port, registry=registry)
        except OSError as error:
            raise UserError(f"--metrics-port {port}: {error.strerror}; give another port") from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def show(self, progress: BuildProgress, now: float) -> None:
        self._collector.metrics = list(_metrics(progress, now))

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector(Collector):
    """Hands out the metrics that were made last, in the thread of a request."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []

    def collect(self) -> Iterator[Metric]:
        yield from self.metrics


def _metrics(progress: BuildProgress, now: float) -> Iterator[Metric]:
    fragments = GaugeMetricFamily(
        "step3vl_build_fragments", "Fragments of a segment: committed, and all where that is known.",
        labels=["segment", "state"],
    )  # fmt: skip
    rate = GaugeMetricFamily("step3vl_build_records_per_second", "Over the last minute.", labels=["segment"])
    left = GaugeMetricFamily("step3vl_build_seconds_left", "At that rate.", labels=["segment"])
    cpu = CounterMetricFamily("step3vl_build_cpu_seconds", "Of all workers.", labels=["segment"])
    staged = CounterMetricFamily("step3vl_build_staged_bytes", "Rows and images.", labels=["segment"])
    records = CounterMetricFamily(
        "step3vl_build_records", "Records by step and outcome: read, kept, emitted.", labels=["step", "outcome"]
    )
    lost = CounterMetricFamily(
        "step3vl_build_records_not_kept", "Records that were dropped or failed, by reason.",
        labels=["step", "outcome", "reason"],
    )  # fmt: skip
    for segment in progress.segments.values():
        fragments.add_metric([segment.name, "committed"], segment.fragments)
        if segment.total is not None:
            fragments.add_metric([segment.name, "all"], segment.total)
        rate.add_metric([segment.name], segment.rate(now))
        if (seconds := segment.seconds_left(now)) is not None:
            left.add_metric([segment.name], seconds)
        cpu.add_metric([segment.name], segment.cpu_seconds)
        staged.add_metric([segment.name], segment.written_bytes)
        for step in segment.steps.values():
            for outcome in ("read", "kept", "emitted"):
                records.add_metric([step.name, outcome], getattr(step, outcome))
        for failure in segment.failures():
            outcome = "dropped" if failure.dropped else "failed"
            lost.add_metric([failure.step, outcome, failure.reason], failure.records)
    yield from (fragments, rate, left, cpu, staged, records, lost)
