"""Answer a file of questions, resuming an earlier run:

    python examples/batch.py MODEL questions.jsonl answers.jsonl

`step3vl batch` does the same with more settings.
"""

import asyncio
import sys
from pathlib import Path

from step3vl.inference import Engine, EngineBackend, PaCoReConfig, Sampling
from step3vl.inference.batch import AnswerFile, BatchConfig, answer_all, read_questions
from step3vl.model import load_model

model, questions, answers = sys.argv[1:]
config = BatchConfig(sampling=Sampling(max_new_tokens=64), pacore=PaCoReConfig(rounds=(4,)), concurrency=8)
backend = EngineBackend(Engine(*load_model(model)))
with AnswerFile(Path(answers), {"model": model, **config.model_dump(mode="json")}) as output:
    summary = asyncio.run(answer_all(backend, read_questions(questions), output, config))
print(f"{summary.answered} answered, {summary.failed} failed, {summary.already_answered} answered before")
