"""One way to a Ray cluster for every package that uses Ray, which is imported when a session begins."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from step3vl.data.errors import InfrastructureError, describe_error
from step3vl.data.optional import require


@contextmanager
def ray_session(
    cpus: int,
    *,
    extra: str,
    address: str | None = None,
    logging_level: int = logging.WARNING,
    object_store_bytes: int | None = None,
) -> Iterator[str]:
    """Join a Ray cluster, or run a local one, for the length of the block.

    In this order: the cluster that this process has joined already, which stays joined; `address`; the cluster that
    the environment variable RAY_ADDRESS names; a new one on this machine, which ends with the block.

    Args:
        cpus: Logical CPUs of a new cluster.
        extra: The extra of `step3vl` that installs Ray, for the error when it is missing.
        address: The GCS address of a running cluster.
        logging_level: Of Ray's Python loggers.
        object_store_bytes: The size of a new cluster's object store; by default a share of the machine's memory.

    Yields:
        The GCS address of the cluster, with which other processes can join it.

    Raises:
        UserError: Ray is not installed.
        InfrastructureError: The cluster does not start or cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # Without this Ray warns once a process about a change of default that does not concern processes without GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray = require("ray", extra)  # only now, for Ray reads its environment when it is imported

    ours = not ray.is_initialized()
    if ours:
        address = address or os.environ.get("RAY_ADDRESS")
        options: dict[str, Any] = {"logging_level": logging_level, "log_to_driver": False}
        if address:
            options["address"] = address
        else:
            # "local" asks for a new cluster even where `ray start` left one running on this machine.
            options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            options |= {"object_store_memory": object_store_bytes}
            # Ray gives its workers the least priority. The processes that started them wait for them, and beside
            # other work on the machine they would hardly run.
            os.environ.setdefault("RAY_worker_niceness", "0")
        try:
            ray.init(**options)
        except Exception as error:  # Ray raises a bare Exception when a node does not start in time
            where = f"the Ray cluster at {address} was not joined" if address else "Ray did not start on this machine"
            raise InfrastructureError(f"{where}: {describe_error(error)}; run the same command again") from error
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        if ours:
            ray.shutdown()
