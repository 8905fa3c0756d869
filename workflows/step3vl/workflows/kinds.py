"""The kinds of stages, one entry each: what does the work, the version of its result, and what it leaves.

Modules are named as ``module:attribute`` and imported when a stage of their kind is used.
"""

from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from step3vl.data.storage import write_durably
from step3vl.workflows.config import to_yaml
from step3vl.workflows.stages import Kind, Work


def _work(
    config_class: str,
    function: str,
    changes: str | None = None,
    versions: str | None = None,
    reuse: str | None = None,
    full_context: bool = False,
) -> Work:
    """A function of the configuration and the output directory, or of the configuration and the context."""
    run = resolve_name(function)
    return Work(
        resolve_name(config_class),
        run if full_context else lambda config, context: run(config, context.out, **context.options),
        resolve_name(changes) if changes else None,
        resolve_name(versions) if versions else None,
        resolve_name(reuse) if reuse else None,
    )


def _training(config_class: str, module: str) -> Work:
    """A trainer, run as ``python -m module`` in as many processes as its configuration asks for."""
    return Work(resolve_name(config_class), lambda config, context: _launch(module, config))


def _launch(module: str, config: Any) -> None:
    from step3vl.training.launch import launch

    resolved = Path(config.output) / "config.yaml"
    resolved.parent.mkdir(parents=True, exist_ok=True)
    write_durably(resolved, to_yaml(config).encode())  # under a cluster's launcher every rank comes here
    launch(module, resolved, config.engine.processes)


_DATA = ("step3vl.data", "step3vl.grading")
_MODEL = (*_DATA, "step3vl.model")
_TRAINING = (*_MODEL, "step3vl.training")
_INFERENCE = (*_MODEL, "step3vl.inference")
_FREE_IN_TRAINING = (
    "engine.processes", "engine.micro_batch", "data.workers", "data.cache_mb", "data.store", "data.max_unreadable",
    "checkpoint", "log", "evaluation",
)  # fmt: skip
"""As in ``step3vl.training.trainer``, which resumes with another value of these."""
_CORPUS = "step3vl.workflows.corpus_build"
_SYNTHESIS = "step3vl.inference.synthesis_data"
_EVALUATION = "step3vl.workflows.evaluation"
_REPORT = "step3vl.workflows.report"

KINDS: dict[str, Kind] = {
    "corpus": Kind(
        partial(
            _work,
            "step3vl.pipelines.config:CorpusConfig",
            f"{_CORPUS}:build_watched",
            "step3vl.pipelines.provenance:changes",
            "step3vl.pipelines.provenance:versions",
            f"{_CORPUS}:reuse_earlier",
        ),
        version=1,
        result="dataset.json",
        packages=(*_DATA, "step3vl.pipelines"),
        free_fields=("root", "store", "models", "beam_options", "failure_budget"),
        incremental=True,
    ),
    "pretrain": Kind(
        partial(_training, "step3vl.training.pretrain:PretrainConfig", "step3vl.training.pretrain"),
        version=1,
        result="export",
        packages=_TRAINING,
        out_field="output",
        free_fields=_FREE_IN_TRAINING,
    ),
    "sft": Kind(
        partial(_training, "step3vl.training.sft:SFTConfig", "step3vl.training.sft"),
        version=1,
        result="export",
        packages=_TRAINING,
        out_field="output",
        free_fields=_FREE_IN_TRAINING,
    ),
    "rl": Kind(
        partial(_training, "step3vl.training.rl.config:RLConfig", "step3vl.training.rl.trainer"),
        version=1,
        result="export",
        packages=(*_TRAINING, "step3vl.inference"),
        out_field="output",
        free_fields=(
            *("checkpoint", "rollout.device", "rollout.timeout"),
            *("data.max_unreadable", "environments.max_unreadable"),
        ),
    ),
    "synthesis_data": Kind(
        partial(_work, f"{_SYNTHESIS}:SynthesisDataConfig", f"{_SYNTHESIS}:build_synthesis_data"),
        version=1,
        result="dataset.json",
        packages=_INFERENCE,
        free_fields=("device",),
    ),
    "evaluate": Kind(
        partial(_work, f"{_EVALUATION}:EvaluateConfig", f"{_EVALUATION}:evaluate"),
        version=2,
        result="evaluation.json",
        packages=(*_INFERENCE, "step3vl.evaluation", "step3vl.workflows"),
        free_fields=("device",),
    ),
    "report": Kind(
        partial(_work, f"{_REPORT}:ReportConfig", f"{_REPORT}:write_report", full_context=True),
        version=1,
        result="report.html",
        packages=("step3vl.data", "step3vl.workflows"),
        reads_all=True,
    ),
}
"""Name of the kind, as ``run:`` in a workflow gives it -> what it means."""
