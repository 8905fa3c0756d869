"""A miniature of the official release of each benchmark of questions on images; all but the layout is ours."""

import base64
import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from step3vl.evaluation.benchmarks.do_you_see_me import TASKS


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2), colour).save(buffer, "png")
    return buffer.getvalue()


IMAGE = {"bytes": png(), "path": None}
BASE64 = base64.b64encode(png()).decode()


def put(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def parquet(path: Path, *rows: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


def table(path: Path, *rows: dict[str, Any], delimiter: str = "\t") -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    put(path, buffer.getvalue())


def mmmu(data: Path) -> None:
    question = {"explanation": "", "image_1": IMAGE, "image_2": None}
    choice = {"id": "validation_Art_Theory_1", "question": "Which? <image 1>", "question_type": "multiple-choice"}
    parquet(
        data / "Art_Theory" / "validation-00000-of-00001.parquet",
        {**choice, "options": "['cat', 'dog']", "answer": "B", **question},
        {
            "id": "validation_Math_7",
            "question": "<image 1> How long?",
            "question_type": "open",
            "options": "[]",
            "answer": "['1.5', '3/2']",
            **question,
        },
    )


def mmmu_pro(data: Path) -> None:
    options = str([f"option {number}" for number in range(9)] + ["dog"])
    parquet(
        data / "standard (10 options)" / "test-0.parquet",
        {
            "id": "test_Art_1",
            "question": "Which? <image 1>",
            "options": options,
            "answer": "J",
            "subject": "Art",
            "image_1": IMAGE,
        },
    )
    parquet(
        data / "vision" / "test-0.parquet",
        {"id": "test_Art_1", "options": options, "answer": "J", "subject": "Art", "image": IMAGE},
    )


def mmbench(data: Path, language: str) -> None:
    row = {"question": "Which?", "hint": "nan", "A": "cat", "B": "dog", "C": "", "D": "", "l2-category": "logic"}
    table(
        data / f"MMBench_DEV_{language}_V11.tsv",
        {"index": 7, **row, "answer": "B", "image": BASE64},
        {"index": 1_000_007, **row, "A": "dog", "B": "cat", "answer": "A", "image": "7"},
    )


def m3gia(data: Path) -> None:
    for language in ("english", "chinese", "french", "spanish", "portuguese", "korean"):
        row = {"index": 1, "question": "Which?", "hint": None, "A": "cat", "B": "dog", "C": None, "image": IMAGE}
        parquet(data / language / "test.parquet", {**row, "QuestionTypes": "Logo Problem"})
        answers = [{"question_id": "1", "question_type": "Logo Problem", "ground_truth": "B"}]
        put(data / f"answer_dict_{language}.jsonl", json.dumps(answers))


def do_you_see_me(data: Path) -> None:
    answers = {"number": "3", "letters": "BX", "yes or no": "No"}
    for task in TASKS:
        question = {} if task.question else {"question": "How many?"}
        row = {"filename": "0.svg", **question, "answer": answers[task.kind], "sweep": "(1, 1)"}
        table(data / task.folder / "dataset_info.csv", row, delimiter=",")
        put(data / task.folder / "0.png", png())


def hallusionbench(data: Path) -> None:
    row = {"category": "VD", "subcategory": "illusion", "set_id": "0", "figure_id": "1", "question_id": "0"}
    rows = [
        {**row, "visual_input": "1", "question": "Same?", "gt_answer": "1", "filename": "./VD/illusion/0_1.png"},
        {
            **row,
            "category": "VS",
            "figure_id": "0",
            "visual_input": "0",
            "question": "More?",
            "gt_answer": "0",
            "filename": None,
        },
    ]
    put(data / "HallusionBench.json", json.dumps(rows))
    put(data / "hallusion_bench" / "VD" / "illusion" / "0_1.png", png())


def ocrbench(data: Path) -> None:
    row = {"id": 1, "image_path": "a/1.png", "question": "what is written?"}
    rows = [
        {**row, "dataset_name": "IIIT5K", "answers": "CENTRE", "type": "Regular Text Recognition"},
        {**row, "dataset_name": "HME100k", "answers": ["x + Y"], "type": "Handwritten Mathematical Expression"},
    ]
    put(data / "OCRBench.json", json.dumps(rows))
    put(data / "OCRBench_Images" / "a" / "1.png", png())


CHOICES = "Which?\n(A) cat\n(B) dog"
RELEASES = {
    "mmmu": mmmu,
    "mmmu-vlmevalkit": mmmu,
    "mmmu-pro": mmmu_pro,
    "blink": lambda data: parquet(
        data / "Counting" / "val-0.parquet",
        {
            "idx": "val_Counting_1",
            "prompt": CHOICES,
            "choices": ["cat", "dog"],
            "answer": "(B)",
            "image_1": IMAGE,
            "image_2": None,
        },
    ),
    "cv-bench": lambda data: parquet(
        data / "test_2d.parquet",
        {
            "idx": 0,
            "prompt": CHOICES,
            "choices": ["cat", "dog"],
            "answer": "(B)",
            "task": "Count",
            "source": "COCO",
            "image": IMAGE,
        },
    ),
    "realworldqa": lambda data: parquet(
        data / "data" / "test-0.parquet",
        {
            "image": IMAGE,
            "question": "Which?\nA. cat\nB. dog\nPlease answer directly with only the letter of it.",
            "answer": "B",
        },
        {"image": IMAGE, "question": "How many?\nPlease answer directly with a single word or number.", "answer": "2"},
    ),
    "vstar": lambda data: (
        put(
            data / "test_questions.jsonl",
            json.dumps(
                {
                    "image": "direct_attributes/1.jpg",
                    "text": f"{CHOICES}\nAnswer with the option's letter from the given choices directly.",
                    "category": "direct_attributes",
                    "label": "B",
                    "question_id": 0,
                }
            ),
        ),
        put(data / "direct_attributes" / "1.jpg", png()),
    ),
    "hallusionbench": hallusionbench,
    "ocrbench": ocrbench,
    "mmbench-en": lambda data: mmbench(data, "EN"),
    "mmbench-cn": lambda data: mmbench(data, "CN"),
    "mmstar": lambda data: parquet(
        data / "mmstar.parquet",
        {
            "index": 0,
            "question": "Which?\nOptions: A: cat, B: dog",
            "image": png(),
            "answer": "B",
            "category": "math",
            "l2_category": "x",
        },
    ),
    "mmvp": lambda data: [
        table(
            data / "Questions.csv",
            *(
                {"Index": number, "Question": "Which?", "Options": "(a) cat (b) dog", "Correct Answer": "(b)"}
                for number in (1, 2)
            ),
            delimiter=",",
        ),
        *(put(data / "MMVP Images" / f"{number}.jpg", png()) for number in (1, 2)),
    ],
    "ai2d": lambda data: parquet(
        data / "data" / "test-0.parquet",
        {"question": "Which?", "options": ["cat", "dog"], "answer": "1", "image": IMAGE},
    ),
    "visulogic": lambda data: (
        put(
            data / "data.jsonl",
            json.dumps({"question": "Which of A, B, C, D?", "label": "B", "image_path": "images/0.png", "tag": "x"}),
        ),
        put(data / "images" / "0.png", png()),
    ),
    "mmsi-bench": lambda data: parquet(
        data / "MMSI_Bench.parquet",
        {
            "id": 0,
            "images": [png(), png()],
            "question": "Which?\nOptions: A: cat, B: dog",
            "question_type": "MSR",
            "answer": "B",
        },
    ),
    "erqa": lambda data: parquet(
        data / "data" / "test-0.parquet",
        {
            "question_id": "q1",
            "images": [IMAGE],
            "question": "Which? Choices: A. cat B. dog",
            "question_type": "x",
            "answer": "B",
        },
    ),
    "omnispatial": lambda data: (
        put(
            data / "OmniSpatial-test" / "data.json",
            json.dumps(
                [
                    {
                        "id": "12_0",
                        "task_type": "Complex_Logic",
                        "sub_task_type": "x",
                        "question": "Which?",
                        "options": ["cat", "dog"],
                        "answer": 1,
                    }
                ]
            ),
        ),
        put(data / "OmniSpatial-test" / "Complex_Logic" / "12.png", png()),
    ),
    "mindcube-tiny": lambda data: (
        put(
            data / "raw" / "MindCube_tinybench.jsonl",
            json.dumps(
                {
                    "id": "among_1",
                    "question": "Which? A. cat B. dog",
                    "images": ["other_all_image/1.png"],
                    "gt_answer": "B",
                }
            ),
        ),
        put(data / "other_all_image" / "1.png", png()),
    ),
    "spatialviz-bench": lambda data: (
        parquet(
            data / "test.parquet",
            {
                "Category": "Fold",
                "Task": "Paper",
                "Level": "L0",
                "Image_id": "0-1",
                "Question": "Which?",
                "Choices": ["cat", "dog"],
                "Answer": "B",
            },
        ),
        put(data / "images" / "Fold" / "Paper" / "L0" / "0-1.png", png()),
    ),
    "stare": lambda data: parquet(
        data / "all.parquet",
        {
            "qid": "1",
            "question": "Which <image>? A. cat B. dog",
            "images": [IMAGE],
            "answer": "B",
            "category": "2d_va",
        },
    ),
    "corecognition": lambda data: table(
        data / "CoreCognition.tsv",
        {
            "index": 0,
            "image": BASE64,
            "question": "Which? A. cat B. dog",
            "answer": "B",
            "question_type": "MCQ",
            "l2-category": "tools",
        },
        {
            "index": 1,
            "image": BASE64,
            "question": "Is it?",
            "answer": "NO",
            "question_type": "YORN",
            "l2-category": "tools",
        },
    ),
    "viewspatial": lambda data: (
        put(
            data / "ViewSpatial-Bench.json",
            json.dumps(
                [
                    {
                        "question_type": "Camera",
                        "image_path": ["ViewSpatial-Bench/1.jpg"],
                        "question": "Where?",
                        "answer": "B. dog",
                        "choices": "A. cat\nB. dog",
                    }
                ]
            ),
        ),
        put(data / "ViewSpatial-Bench" / "1.jpg", png()),
    ),
    "all-angles-bench": lambda data: (
        put(
            data / "data.json",
            json.dumps(
                [
                    {
                        "index": number,
                        "pair_idx": 1 - number,
                        "category": "counting",
                        "image_path": ["a/1.jpg"],
                        "question": "Which?",
                        "A": "cat",
                        "B": "dog",
                        "C": "bird",
                        "answer": "B",
                    }
                    for number in (0, 1)
                ]
            ),
        ),
        put(data / "a" / "1.jpg", png()),
    ),
    "m3gia": m3gia,
    "remi": lambda data: parquet(
        data / "test.parquet",
        {
            "question": "What is <image1> and <image2>?",
            "label": "dog",
            "task": "Clocks",
            "image_1": IMAGE,
            "image_2": IMAGE,
        },
    ),
    "countbench": lambda data: parquet(
        data / "data" / "test-0.parquet",
        {"image": IMAGE, "text": "three dogs", "question": "How many dogs?", "number": 3},
    ),
    "pixmo-count": lambda data: (
        parquet(
            data / "data" / "test-0.parquet",
            *(
                {"image_url": "https://example.org", "image_sha256": name, "count": 3, "label": "dogs"}
                for name in ("ab", "gone")
            ),
        ),
        put(data / "images" / "ab.png", png()),
    ),
    "countqa": lambda data: parquet(
        data / "data" / "test-0.parquet",
        {"image": IMAGE, "questions": ["How many dogs?", "How many cats?"], "answers": ["3", "3"]},
    ),
    "do-you-see-me": do_you_see_me,
    "csvqa": lambda data: table(
        data / "csvqa_data.tsv",
        {
            "id": "Math_1",
            "zh_question": "<image>哪个？",
            "zh_A": "猫",
            "zh_B": "狗",
            "zh_C": "鸟",
            "zh_D": "鱼",
            "answer": "B",
            "question_type": "multiple-choice",
            "category": "Math",
            "image": f"['{BASE64}']",
        },
    ),
    "simplevqa": lambda data: parquet(
        data / "data" / "test-0.parquet", {"question": "Who?", "answer": "Ada", "language": "EN", "image": BASE64}
    ),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests with an argument `name` run for every benchmark here."""
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name", RELEASES)


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the release of each benchmark in a folder of its name."""
    folder = tmp_path_factory.mktemp("releases")
    for name, write in RELEASES.items():
        write(folder / name)
    return folder
