"""The Prometheus metrics at /metrics. Labels take few values: known paths, known models, statuses."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 7200)  # seconds


class Metrics:
    """The metrics of one server, in a registry of its own, so that two servers in one process stay apart.

    Args:
        running: Returns the number of requests that are being answered.
        waiting: Returns the number of queued requests.
    """

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "step3vl_requests", "Requests by path and status.", ["path", "status"], registry=self.registry
        )
        self.request_seconds = Histogram(
            "step3vl_request_seconds",
            "Time from a request to the end of its response.",
            ["path"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.first_token_seconds = Histogram(
            "step3vl_time_to_first_token_seconds",
            "Time from admission to the first chunk of a response.",
            ["model"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "step3vl_tokens", "Tokens by model and kind: prompt, reasoning, answer.", ["model", "kind"],
            registry=self.registry,
        )  # fmt: skip
        self.disconnects = Counter(
            "step3vl_disconnects",
            "Requests whose client disconnected before the response was complete.",
            registry=self.registry,
        )
        self._add_gauge("step3vl_running_requests", "Requests that are being answered.", running)
        self._add_gauge("step3vl_waiting_requests", "Requests that are queued.", waiting)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _add_gauge(self, name: str, description: str, value: Callable[[], int]) -> None:
        Gauge(name, description, registry=self.registry).set_function(value)
