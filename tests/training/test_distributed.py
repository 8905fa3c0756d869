"""Work that ranks share, and waiting for each other with a limit."""

import os
import textwrap
from pathlib import Path

import pytest

from step3vl.data.errors import UserError
from step3vl.training import checkpoint, distributed
from step3vl.training.launch import launch

FILES = [
    "critic/zero_pp_rank_0_mp_rank_00_optim_states.pt",
    "model/bf16_zero_pp_rank_1_mp_rank_00_optim_states.pt",
    "model/mp_rank_00_model_states.pt",
    "model/zero_pp_rank_10_mp_rank_00_model_states.pt",
    "model/zero_pp_rank_2_mp_rank_00_optim_states.pt",
    "random-0.pt",
    "random-3.pt",
]


@pytest.mark.parametrize(
    ("places", "nodes"),
    [
        ([(2, 0), (2, 1), (2, 0), (2, 1)], 2),
        ([(4, 0), (4, 1), (4, 2), (4, 3)], 1),
        ([(1, 0)] * 3, 3),
        ([(2, 0), (2, 1), (1, 0)], 1),  # unequal nodes
        ([(2, 0), (2, 0), (2, 1), (2, 1)], 1),  # ranks that are dealt to the nodes one by one
    ],
)
def test_nodes_are_counted_where_they_are_equal(
    monkeypatch: pytest.MonkeyPatch, places: list[tuple[int, int]], nodes: int
) -> None:
    for name, value in (("is_initialized", True), ("get_world_size", len(places))):
        monkeypatch.setattr(distributed.dist, name, lambda value=value: value)
    monkeypatch.setattr(distributed, "gather_objects", lambda place: places)
    assert distributed.node_count() == nodes


@pytest.mark.parametrize(
    ("world", "shares"),
    [
        (1, [[0, 1, 2, 3, 4, 5, 6]]),
        (2, [[0, 2, 3, 4, 5], [1, 6]]),
        (16, [[0, 2, 5], [1], [4], [6], *[[]] * 6, [3], *[[]] * 5]),
    ],
)
def test_every_file_of_a_checkpoint_is_hashed_by_the_rank_that_wrote_it(
    monkeypatch: pytest.MonkeyPatch, world: int, shares: list[list[int]]
) -> None:
    monkeypatch.setattr(checkpoint.dist, "get_world_size", lambda: world)
    for rank, share in enumerate(shares):
        monkeypatch.setattr(checkpoint.dist, "get_rank", lambda rank=rank: rank)
        assert checkpoint._files_of_rank(FILES) == [FILES[index] for index in share]


@pytest.mark.slow
def test_a_rank_that_does_not_arrive_in_time_ends_the_run_with_what_it_was_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rank_waits.py").write_text(
        textwrap.dedent(
            """
            import os, time
            from datetime import timedelta
            import torch.distributed as dist
            from step3vl.training.distributed import wait_for_all
            from step3vl.training.launch import run_rank

            def work(path):
                dist.init_process_group("gloo")
                wait_for_all("starting")
                if os.environ["RANK"] == "1":
                    time.sleep(600)
                wait_for_all("exporting the model", timedelta(seconds=1))

            run_rank(work)
            """
        )
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with pytest.raises(UserError, match=r"not all ranks finished exporting the model in 0:00:01: .*[Rr]ank"):
        launch("rank_waits", tmp_path, 2)
