"""lm-eval's own functions (the filters and metrics of its tasks' YAML), and math-verify's."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from crosschecks.replies import Reply


class _Loader(yaml.SafeLoader):
    """Reads a task's YAML without running its functions."""


_Loader.add_constructor("!function", lambda loader, node: loader.construct_scalar(node))


def _config(path: str) -> dict[str, Any]:
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations
    return yaml.load((Path(spec.submodule_search_locations[0]) / "tasks" / path).read_text(), _Loader)


def _filtered(path: str, name: str, answer: Callable[[Reply], str]) -> Callable[[Reply], str]:
    """The verdict of a task's named filter and exact match."""

    def verdict(reply: Reply) -> str:
        from lm_eval.api.metrics import exact_match_hf_evaluate
        from lm_eval.filters import get_filter

        config = _config(path)
        steps = next(each["filter"] for each in config["filter_list"] if each["name"] == name)
        doc = {"choices": list(reply.item.fields.get("options", ()))}
        texts: Any = [[reply.text]]
        for step in steps:
            arguments = {key: value for key, value in step.items() if key != "function"}
            texts = list(get_filter(step["function"])(**arguments).apply(texts, [doc]))
        metric = config["metric_list"][0]
        names = ("ignore_case", "ignore_punctuation", "regexes_to_ignore")
        arguments = {key: metric[key] for key in names if key in metric}
        result = exact_match_hf_evaluate(predictions=[texts[0]], references=[answer(reply)], **arguments)
        return "1" if result["exact_match"] else "0"

    return verdict


def _aime(reply: Reply) -> str:
    module = importlib.import_module("lm_eval.tasks.aime.utils")
    return "1" if module.process_results({"Answer": reply.item.answer}, [reply.text])["exact_match"] else "0"


def _ifeval(reply: Reply) -> str:
    import langdetect

    langdetect.DetectorFactory.seed = 1  # unseeded, it names another language now and then
    module = importlib.import_module("lm_eval.tasks.ifeval.utils")
    fields = reply.item.fields
    asked = module.InputExample(0, list(fields["instruction_id_list"]), "", list(fields["kwargs"]))
    strict = module.test_instruction_following_strict(asked, reply.text).follow_all_instructions
    loose = module.test_instruction_following_loose(asked, reply.text).follow_all_instructions
    return f"{int(strict)}{int(loose)}"


def _verify(reply: Reply) -> str:
    from math_verify import parse, verify

    gold = parse(f"${reply.item.answer}$", parsing_timeout=None)
    return "1" if verify(gold, parse(reply.text, parsing_timeout=None), timeout_seconds=None) else "0"


def _letter(reply: Reply) -> str:
    return str(reply.item.answer)


def _number(reply: Reply) -> str:
    return f"#### {reply.item.answer}"


FUNCTIONS: dict[str, Callable[[Reply], str]] = {
    "gsm8k_cot strict-match": _filtered("gsm8k/gsm8k-cot.yaml", "strict-match", _number),
    "gsm8k_cot flexible-extract": _filtered("gsm8k/gsm8k-cot.yaml", "flexible-extract", _number),
    "mmlu_pro custom-extract": _filtered("mmlu_pro/_default_template_yaml", "custom-extract", _letter),
    "gpqa strict-match": _filtered("gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", "strict-match", _letter),
    "gpqa flexible-extract": _filtered("gpqa/cot_zeroshot/_gpqa_cot_zeroshot_yaml", "flexible-extract", _letter),
    "aime": _aime,
    "ifeval": _ifeval,
}
MATH_VERIFY: dict[str, Callable[[Reply], str]] = {"verify": _verify}
