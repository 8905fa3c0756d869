"""What Prometheus reads at /metrics. Labels take few values: known paths, known models, statuses."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 7200)


class Metrics:
    """One server's own registry, so that two servers in one process do not mix."""

    def __init__(self, running: Callable[[], int], waiting: Callable[[], int]):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "step3vl_requests", "Requests by path and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "step3vl_request_seconds",
            "Time from a request to the end of its reply.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.first = Histogram(
            "step3vl_time_to_first_token_seconds",
            "Time from admission to the first piece of a reply.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.tokens = Counter(
            "step3vl_tokens", "Tokens by model and kind: prompt, reasoning, answer.", ["model", "kind"],
            registry=self.registry,
        )  # fmt: skip
        self.disconnects = Counter(
            "step3vl_disconnects", "Requests whose client left before the reply was whole.", registry=self.registry
        )
        self._gauge("step3vl_running_requests", "Requests that are being answered.", running)
        self._gauge("step3vl_waiting_requests", "Requests that wait for their turn.", waiting)

    def text(self) -> bytes:
        return generate_latest(self.registry)

    def _gauge(self, name: str, what: str, value: Callable[[], int]) -> None:
        Gauge(name, what, registry=self.registry).set_function(value)
