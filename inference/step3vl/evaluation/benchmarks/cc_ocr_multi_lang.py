"""CC-OCR, the multi-language track: 150 images in each of ten languages, by F1 of words or characters."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from step3vl.evaluation.benchmark import About, Benchmark, DataFile, Rule
from step3vl.evaluation.files import find_all, image_bytes, read_records, require_fields
from step3vl.evaluation.item import Item, Metrics, Score, Scored, Verdict
from step3vl.evaluation.prompts import user_message

_BY_CHARACTER = ("Arabic", "Japanese", "Korean")
_TINY = 1e-9  # which the official code adds to denominators
_PROMPT = "Read all the text in the image. Output the text only, without descriptions or formatting."


class CCOCRMultiLang(Benchmark):
    """The order of words does not count; the score is the mean of the languages' means."""

    about = About(
        name="cc-ocr-multi-lang",
        title="CC-OCR (Multi-Lang)",
        paper="https://github.com/AlibabaResearch/AdvancedLiterateMachinery, Benchmarks/CC-OCR",
        licence="MIT",
        items=1500,
        repeats=4,
        family="official",
        metric="mean F1 of words (of characters in Arabic, Japanese and Korean)",
        files=(DataFile("*_150.tsv", "https://huggingface.co/datasets/wulipc/CC-OCR, multi_lan_ocr", "0.6 GB"),),
        notes=("Words are compared in lower case; `###` and `***` are dropped, other Markdown counts as words.",),
    )

    def items(self, data: Path, images: bool = True) -> Iterator[Item]:
        for path in find_all(data, "*_150.tsv", self.about):
            language = path.name.partition("_")[0]
            for record in read_records(path):
                require_fields(record, ("index", "image", "answer", "split"), path)
                yield Item(
                    id=f"{language}-{record['index']}",
                    messages=(user_message(record.get("question") or _PROMPT, images=1),),
                    answer=record["answer"],
                    images=(image_bytes(record["image"]),) if images else (),
                    category=record["split"] or language,
                )

    def score(self, item: Item, response: str, rule: Rule = "strict") -> Score:
        by_character = _by_character(item)
        expected, words = (_words(text, by_character) for text in (str(item.answer), response))
        if not words and rule == "strict":
            return Score.unparsable("no text")
        shared = sum((Counter(expected) & Counter(words)).values())
        recall, precision = shared / (len(expected) + _TINY), shared / (len(words) + _TINY)
        value = 2 * recall * precision / (recall + precision + _TINY)
        verdict: Verdict = "correct" if shared == len(expected) == len(words) else "partial" if shared else "wrong"
        trace = f"{shared} of {len(expected)} {'characters' if by_character else 'words'}, {len(words)} read"
        return Score(value, verdict, None, (trace,), {"shared": shared, "read": len(words)})

    def summarise(self, scored: Sequence[Scored]) -> Metrics:
        """The mean of the languages' mean F1, and the F1 over all words of all images."""
        metrics = super().summarise(scored)
        languages = metrics.categories.values()
        totals = {name: sum(each.score.details.get(name, 0) for each in scored) for name in ("shared", "read")}
        totals["expected"] = sum(len(_words(str(each.item.answer), _by_character(each.item))) for each in scored)
        micro = 200 * totals["shared"] / ((totals["expected"] + totals["read"]) or 1)
        values = {"F1": sum(languages) / len(languages) if languages else 0.0, "F1 over all words": micro}
        return Metrics("F1", values, {**metrics.counts, **totals}, metrics.categories)


def _by_character(item: Item) -> bool:
    return item.category in _BY_CHARACTER


def _words(text: str, by_character: bool) -> list[str]:
    text = text.strip().replace("###", "").replace("***", "").lower()
    words = text.split()
    return list("".join(words)) if by_character else words


BENCHMARK = CCOCRMultiLang()
