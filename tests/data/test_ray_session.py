"""One way to a Ray cluster."""

from types import SimpleNamespace

import pytest

from step3vl.data import ray_session as module
from step3vl.data.errors import InfrastructureError


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (None, "Ray did not start on this machine: .*timed out"),
        ("10.0.0.1:6379", r"at 10\.0\.0\.1:6379 was not joined"),
    ],
)
def test_a_cluster_that_does_not_start_is_an_error_of_the_machine_in_one_line(
    monkeypatch: pytest.MonkeyPatch, address: str | None, message: str
) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.\nSee the logs.")

    ray = SimpleNamespace(is_initialized=lambda: False, init=init)
    monkeypatch.setattr(module, "require", lambda *_: ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        pytest.raises(InfrastructureError, match=message) as raised,
        module.ray_session(1, extra="x", address=address),
    ):
        pass
    assert "\n" not in str(raised.value)
