"""PPO from end to end, with real Ray, DeepSpeed, Engine and images: parity, learning, and resuming after a kill."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image as PILImage

from step3vl.data.errors import UserError
from step3vl.data.sample import Image, ImageSpec, Sample, Source, TextTruth, conversation, image, text
from step3vl.data.tokens import TokenIds, encode_sample, load_tokenizer, train_bpe
from step3vl.model import Step3VLForConditionalGeneration, Step3VLProcessor, load_model, save_checkpoint, tiny_config
from step3vl.training.config import read_config
from step3vl.training.engine import join
from step3vl.training.launch import free_port, launch
from step3vl.training.monitor import read_metrics
from step3vl.training.rl.config import RLConfig
from step3vl.training.rl.rollout_actor import RolloutActor, start_worker
from step3vl.training.rl.trainer import RLTrainer

MODULE = "step3vl.training.rl.trainer"
COLOURS = ("red", "green", "blue")

pytestmark = pytest.mark.slow


def make_sample(number: int, answer: str) -> Sample:
    """A question whose right answer is always red, and an answer that a model may have learned to give."""
    buffer = io.BytesIO()
    PILImage.new("RGB", (28 + 14 * (number % 3), 28), (number % 256, 40, 90)).save(buffer, "PNG")
    return Sample.make(
        domain="vqa",
        task=f"vqa.{'odd' if number % 2 else 'even'}",
        messages=conversation((image(0), text(f"Which, {number}?")), answer),
        images=(Image.from_bytes(buffer.getvalue()),),
        truth=TextTruth(text="red"),
        source=Source(uri=f"rendered:{number}", licence="CC0-1.0", collected_by="tests"),
    )


@pytest.fixture(scope="module")
def dataset(commit_dataset: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("rl-dataset")
    train_bpe(["red green blue Which"], 320).save(str(root / "tokenizer.json"))
    numbers = {"train": range(32), "heldout": range(100, 124)}
    commit_dataset(root, "rl", {split: [make_sample(n, "red") for n in part] for split, part in numbers.items()})
    return root


@pytest.fixture(scope="module")
def policy(dataset: Path, image_spec: ImageSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model that has learned to close its reasoning and to name any of three colours."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(dataset)
    processor = Step3VLProcessor.build(tokenizer, image_spec)
    config = tiny_config(
        tokenizer.get_vocab_size(), image_spec, image_token_id=TokenIds.of(tokenizer).image_patch, hidden_size=64,
        layers=2, vision_width=32, vision_layers=1,
    )  # fmt: skip
    model = Step3VLForConditionalGeneration(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rng = random.Random(0)
    for _ in range(60):
        samples = [make_sample(rng.randrange(200, 1000), rng.choice(COLOURS)) for _ in range(16)]
        encoded = [encode_sample(sample, tokenizer, image_spec) for sample in samples]
        rows = [torch.from_numpy(sample.input_ids).long() for sample in encoded]
        weights = [torch.from_numpy(sample.loss_weights) for sample in encoded]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        pixels = processor.image_processor([sample.images[0].open() for sample in samples])
        pixels.pop("patch_newline_mask")
        loss = model(
            input_ids=ids,
            labels=ids,
            loss_weights=torch.nn.utils.rnn.pad_sequence(weights, batch_first=True),
            attention_mask=torch.nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            **pixels,
        ).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("rl-policy") / "export"
    save_checkpoint(model.eval(), processor, folder)
    return folder


def write_config(folder: Path, dataset: Path, policy: Path, **changes: Any) -> Path:
    """A run with nested changes to its sections, and plain ones to `iterations`."""
    settings: dict[str, Any] = {
        "output": str(folder / "out"),
        "init": str(policy),
        "data": {"dataset": str(dataset)},
        "iterations": 8,
        "rollout": {"prompts_per_iteration": 16, "rollouts_per_prompt": 4, "max_new_tokens": 8},
        "algorithm": {"importance": "clip"},
        "actor": {"lr": 1e-3, "minibatches": 1},
        "critic": {"lr": 1e-3, "minibatches": 2, "warmup_iterations": 1},
        "optimizer": {"warmup_steps": 0},
        "engine": {"micro_batch": 32, "precision": "fp32"},
        "checkpoint": {"every": 4},
        "evaluation": {"prompts_per_task": 12, "rollouts_per_prompt": 4},
    }
    for section, value in changes.items():
        settings[section] = {**settings.get(section, {}), **value} if isinstance(value, dict) else value
    path = folder / "rl.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@contextmanager
def single_rank() -> Iterator[torch.device]:
    """This process as the only rank of a process group, which stays until pytest ends."""
    names = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**names, "MASTER_PORT": str(free_port())}.items():
            patch.setenv(name, value)
        yield join()


def start_actor(policy: Path, folder: Path) -> RolloutActor:
    return RolloutActor(lambda: start_worker(str(policy), "fp32"), 200.0, folder / "rollout_error.txt")


@pytest.fixture(scope="module")
def worker(cluster: None, policy: Path, tmp_path_factory: pytest.TempPathFactory) -> RolloutActor:
    """A rollout worker for all runs in this process: starting one takes seconds."""
    return start_actor(policy, tmp_path_factory.mktemp("rl-worker"))


def run_here(path: Path, worker: RolloutActor) -> Path:
    """A run in this process; returns its output."""
    config = read_config(str(path), RLConfig)
    with single_rank() as device:
        RLTrainer(config, worker, device).run()
    return Path(config.output)


@pytest.fixture(scope="module")
def finished(dataset: Path, policy: Path, worker: RolloutActor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a whole run."""
    return run_here(write_config(tmp_path_factory.mktemp("rl-run"), dataset, policy), worker)


def iterations(output: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(output / "metrics.jsonl") if "reward_mean" in row]


def without_times(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what depends on the machine."""
    return {name: value for name, value in row.items() if not name.startswith("seconds")}


def changed_weights(new: Path, old: Path) -> set[str]:
    (model, _), (before, _) = load_model(new), load_model(old)
    pairs = zip(model.state_dict().items(), before.state_dict().values(), strict=True)
    return {name for (name, new_weight), old_weight in pairs if not torch.equal(new_weight, old_weight)}


def test_ppo_raises_the_held_out_reward(finished: Path) -> None:
    start, end = (json.loads((finished / f"eval_{name}.json").read_text()) for name in ("start", "end"))
    assert start["reward_mean"] < 0.7
    assert end["reward_mean"] > 0.9
    assert end["reward_mean"] - start["reward_mean"] > 3 * (start["reward_se"] + end["reward_se"])
    assert [row["sample"] for row in start["results"]] == [row["sample"] for row in end["results"]]
    assert {task: row["prompts"] for task, row in end["tasks"].items()} == {"vqa.odd": 12, "vqa.even": 12}


def test_trainer_and_rollout_engine_agree_on_every_token(finished: Path) -> None:
    rows = iterations(finished)
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert all(abs(row["mismatch_kl"]) < 1e-5 and abs(row["mismatch_kl_k3"]) < 1e-8 for row in rows[1:])


def test_a_single_minibatch_is_strictly_on_policy(finished: Path) -> None:
    rows = iterations(finished)
    assert "kl" not in rows[0]  # the critic's warm-up: no actor update
    assert all(row["kl"] == 0.0 and row["clip_fraction"] == 0.0 for row in rows[1:])


def test_the_export_has_a_new_decoder_and_the_old_encoder(finished: Path, policy: Path) -> None:
    changed = changed_weights(finished / "export", policy)
    assert {"lm_head.weight", "model.norm.weight"} <= changed
    assert not any(name.startswith(("vision_model.", "vit_large_projector.")) for name in changed)


def test_without_learning_rate_nothing_changes(
    dataset: Path, policy: Path, worker: RolloutActor, tmp_path: Path
) -> None:
    output = run_here(
        write_config(tmp_path, dataset, policy, actor={"lr": 0.0}, critic={"lr": 0.0}, iterations=2), worker
    )
    start, end = (json.loads((output / f"eval_{name}.json").read_text()) for name in ("start", "end"))
    assert start["results"] == end["results"]  # the same prompts, seeds and weights
    assert not changed_weights(output / "export", policy)


@pytest.mark.parametrize("changes", [{"micro_batch": 7, "zero_stage": 2}, {"micro_batch": 50, "zero_stage": 3}])
def test_neither_micro_batch_nor_zero_stage_changes_an_update(
    dataset: Path, policy: Path, worker: RolloutActor, finished: Path, tmp_path: Path, changes: dict[str, int]
) -> None:
    evaluation = {"prompts_per_task": 1, "rollouts_per_prompt": 1}  # nobody looks at it
    path = write_config(tmp_path, dataset, policy, iterations=3, engine=changes, evaluation=evaluation)
    output = run_here(path, worker)
    for row, expected in zip(iterations(output), iterations(finished), strict=False):
        assert row["reward_mean"] == expected["reward_mean"]
        for name in ("value_loss", "critic_grad_norm", "policy_loss", "actor_grad_norm", "entropy"):
            if name in expected:
                assert row[name] == pytest.approx(expected[name], rel=1e-3, abs=1e-4), name


def test_a_killed_run_resumes_to_the_same_result(
    dataset: Path, policy: Path, worker: RolloutActor, finished: Path, tmp_path: Path
) -> None:
    path = write_config(tmp_path, dataset, policy)
    start = f"from step3vl.training.launch import launch; launch({MODULE!r}, {str(path)!r}, 1)"
    run = subprocess.Popen(
        [sys.executable, "-c", start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 200
    while len(iterations(tmp_path / "out")) < 6:
        assert time.monotonic() < deadline
        assert run.poll() is None
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert (tmp_path / "out" / "checkpoints" / "latest").read_text() == "step-00000004"
    output = run_here(path, worker)
    assert [without_times(row) for row in iterations(output)] == [without_times(row) for row in iterations(finished)]
    assert not changed_weights(output / "export", finished / "export")


def test_a_rollout_worker_that_is_killed_changes_nothing(
    cluster: None, dataset: Path, policy: Path, finished: Path, tmp_path: Path
) -> None:
    actor = start_actor(policy, tmp_path)
    process = actor.process()

    def kill_after_three_iterations() -> None:
        while len(iterations(tmp_path / "out")) < 3:
            time.sleep(0.01)
        os.kill(process, signal.SIGKILL)

    killer = threading.Thread(target=kill_after_three_iterations)
    killer.start()
    output = run_here(write_config(tmp_path, dataset, policy), actor)
    killer.join()
    assert actor.process() != process
    assert [without_times(row) for row in iterations(output)] == [without_times(row) for row in iterations(finished)]
    assert not changed_weights(output / "export", finished / "export")


def test_damaged_prompts_are_skipped_counted_and_listed(
    dataset: Path, policy: Path, worker: RolloutActor, damage: Any, tmp_path: Path
) -> None:
    root = shutil.copytree(dataset, tmp_path / "damaged")
    for split in ("train", "heldout"):
        damage(root, slice(5, 6), split)
    changes = {"iterations": 2, "checkpoint": {"every": 1, "keep": 1}}
    output = run_here(write_config(tmp_path, root, policy, **changes), worker)
    rows = read_metrics(output / "dead_letters.jsonl")
    trained = [row for row in rows if "train-" in row["source"]]
    assert len(trained) >= 1  # each time that its turn comes, twice 16 prompts are all 32 of the dataset
    assert [row["train_step"] for row in rows if "heldout-" in row["source"]] == [0]
    assert iterations(output)[-1]["unreadable_samples"] == len(trained)
    end = json.loads((output / "eval_end.json").read_text())
    assert (end["prompts"], end["unreadable_samples"]) == (23, 1)
    assert [path.name for path in sorted((output / "checkpoints").glob("step-*"))] == ["step-00000002"]

    path = write_config(tmp_path, root, policy, data={"max_unreadable": 0.0}, output=str(tmp_path / "strict"))
    with pytest.raises(UserError, match=r"^\d+ of \d+ samples could not be read, the last of them .*max_unreadable"):
        run_here(path, worker)


def test_a_run_without_a_usable_prompt_ends_after_it_has_listed_them(
    dataset: Path, policy: Path, worker: RolloutActor, damage: Any, tmp_path: Path
) -> None:
    root = shutil.copytree(dataset, tmp_path / "damaged")
    damage(root, slice(None), "train")
    with pytest.raises(UserError, match=r"^no usable prompt was found .*; dead_letters\.jsonl lists all of them$"):
        run_here(write_config(tmp_path, root, policy, iterations=1, data={"max_unreadable": 1.0}), worker)
    rows = read_metrics(tmp_path / "out" / "dead_letters.jsonl")
    assert len({row["source"] for row in rows}) > 16, "those of the iteration, and others in their place"


def test_two_ranks_of_a_launcher_train_every_component_on_pixels(dataset: Path, policy: Path, tmp_path: Path) -> None:
    path = write_config(
        tmp_path, dataset, policy, iterations=2,
        optimizer={"lr_scale": {"vision": 1.0, "projector": 0.5}}, actor={"minibatches": 2},
        algorithm={"importance": "none"}, engine={"processes": 4}, evaluation={"rollouts_per_prompt": 1},
    )  # fmt: skip
    launch(MODULE, path, 2)  # as `torchrun --nproc-per-node 2` would, whose number of processes counts
    rows = iterations(tmp_path / "out")
    assert rows[1]["kl_k3"] > 0.0  # the second mini-batch is off-policy
    assert rows[1]["response_tokens"] > 2 * 64  # both ranks' rollouts
    changed = changed_weights(tmp_path / "out" / "export", policy)
    assert {"vision_model.conv1.weight", "vision_model.vit_downsampler1.weight"} <= changed
    assert "vit_large_projector.weight" in changed


@pytest.mark.chromium
def test_a_policy_is_trained_on_episodes_in_a_browser(
    dataset: Path, policy: Path, worker: RolloutActor, tmp_path: Path
) -> None:
    pages = Path(__file__).parents[3] / "data/samples/gui_sets/miniwob/miniwob-0.zip"  # click-test alone
    path = write_config(
        tmp_path, dataset, policy, data=None, iterations=2,
        environments={"suite": "miniwob", "path": str(pages), "max_steps": 2},
        rollout={"prompts_per_iteration": 1, "rollouts_per_prompt": 2},
        evaluation={"prompts_per_task": 1, "rollouts_per_prompt": 1}, critic={"warmup_iterations": 0},
    )  # fmt: skip
    output = run_here(path, worker)
    rows = iterations(output)
    assert [row["step"] for row in rows] == [1, 2]
    assert all(row["trained_tokens"] > 0 and "reward/click-test" in row for row in rows)
    assert all(abs(row["mismatch_kl"]) < 1e-5 for row in rows), "the trainer sees what the policy saw"
    end = json.loads((output / "eval_end.json").read_text())
    assert [row["sample"] for row in end["results"]] == ["click-test/0"]
    assert (output / "export" / "config.json").is_file()
    assert not (output / "dead_letters.jsonl").exists()


def test_tasks_without_prompts_are_a_user_error(
    dataset: Path, policy: Path, worker: RolloutActor, tmp_path: Path
) -> None:
    path = write_config(tmp_path, dataset, policy, data={"tasks": ["ocr.*"]})
    with pytest.raises(UserError, match=r"no train conversations of ocr\.\*, but of vqa\.even, vqa\.odd"):
        run_here(path, worker)
