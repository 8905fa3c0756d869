"""Run VLMEvalKit's own inference and metric with our model on a few questions of OCRBench's format: for the tests.

Arguments: a folder with `OCRBench.tsv`, the model, and settings as `name=value`. The scores are in `scores.json`. Its
dataset, prompts, inference and metric are its own; its package of other models is not imported (`vlmevalkit_peer`).
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ["LMUData"] = str(folder)  # noqa: SIM112  the name that it reads
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from crosschecks import vlmevalkit_peer

    config = vlmevalkit_peer.shell("config", supported_VLM={})
    dataset_class = vlmevalkit_peer.module("dataset.image_vqa").OCRBench
    dataset_class.DATASET_MD5 = {}  # a local file
    inference = vlmevalkit_peer.module("inference")
    from step3vl.evaluation.plugins import answering, vlmevalkit

    vlmevalkit.register("step3vl", sys.argv[2], **answering.parse_settings(sys.argv[3:]))
    dataset = dataset_class("OCRBench")
    inference.infer_data_job(
        config.supported_VLM["step3vl"](), work_dir=str(folder), model_name="step3vl", dataset=dataset, api_nproc=4
    )
    scores = dataset.evaluate(str(next(folder.glob("step3vl_OCRBench.*"))))
    (folder / "scores.json").write_text(json.dumps(scores))
