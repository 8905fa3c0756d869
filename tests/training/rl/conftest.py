"""A Ray cluster for the rollout workers of a module."""

from collections.abc import Iterator

import pytest

from step3vl.training.rl.rollout_actor import ray_cluster_of_ranks


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with ray_cluster_of_ranks(cpus=2):
        yield
