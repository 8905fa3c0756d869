"""The kinds of stages: what each imports, runs and leaves behind. Imports wait until a stage is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from step3vl.data.config import Config
from step3vl.data.files import write_durably
from step3vl.workflows.config import to_yaml
from step3vl.workflows.stages import Context, Kind

Loaded = tuple[type[Config], Callable[[Any, Context], object]]


def training(stage: str) -> tuple[type[Config], Callable[[Any], None]]:
    """The configuration class of ``pretrain``, ``sft`` or ``rl``, and what trains by such a configuration."""
    config_class: type[Config]
    match stage:
        case "pretrain":
            from step3vl.training.pretrain import PretrainConfig

            module, config_class = "step3vl.training.pretrain", PretrainConfig
        case "sft":
            from step3vl.training.sft import SFTConfig

            module, config_class = "step3vl.training.sft", SFTConfig
        case "rl":
            from step3vl.training.rl.config import RLConfig

            module, config_class = "step3vl.training.rl.trainer", RLConfig
        case _:
            raise ValueError(f"no training stage is called {stage}")
    return config_class, lambda config: _train(module, config)


def _train(module: str, config: Any) -> None:
    """Runs a trainer in as many processes as its configuration asks for, on the resolved YAML beside its output."""
    from step3vl.training.launch import launch

    resolved = Path(config.output) / "config.yaml"
    resolved.parent.mkdir(parents=True, exist_ok=True)
    write_durably(resolved, to_yaml(config).encode())  # under a cluster's launcher every rank comes by here
    launch(module, resolved, config.processes)


def _training_stage(stage: str) -> Loaded:
    config_class, train = training(stage)
    return config_class, lambda config, context: train(config)


def _corpus() -> Loaded:
    from step3vl.pipelines.corpus import CorpusConfig, build_corpus

    return CorpusConfig, lambda config, context: build_corpus(config, context.out)


def _messages() -> Loaded:
    from step3vl.inference.messages import MessagesConfig, cache_messages

    return MessagesConfig, lambda config, context: cache_messages(config, context.out)


def _evaluate() -> Loaded:
    from step3vl.workflows.scores import EvaluateConfig, evaluate

    return EvaluateConfig, lambda config, context: evaluate(config, context.out)


def _report() -> Loaded:
    from step3vl.workflows.report import ReportConfig, write_report

    return ReportConfig, write_report


_MODEL = ("step3vl.data", "step3vl.model")
KINDS = {
    "corpus": Kind(_corpus, "dataset.json", ("step3vl.data", "step3vl.pipelines")),
    "pretrain": Kind(lambda: _training_stage("pretrain"), "export", (*_MODEL, "step3vl.training"), "output"),
    "sft": Kind(lambda: _training_stage("sft"), "export", (*_MODEL, "step3vl.training"), "output"),
    "messages": Kind(_messages, "dataset.json", (*_MODEL, "step3vl.inference")),
    "rl": Kind(lambda: _training_stage("rl"), "export", (*_MODEL, "step3vl.inference", "step3vl.training"), "output"),
    "evaluate": Kind(_evaluate, "scores.json", (*_MODEL, "step3vl.inference", "step3vl.workflows")),
    "report": Kind(_report, "report.html", ("step3vl.data", "step3vl.workflows"), reads_all=True),
}
"""Name of the kind, as ``run:`` in a workflow -> what it means."""
