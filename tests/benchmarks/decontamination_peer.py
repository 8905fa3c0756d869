"""The search for benchmark items beside datatrove's, in an environment of its own on top of the packages of `.venv`.

    python -m venv /tmp/datatrove && /tmp/datatrove/bin/pip install datatrove==0.10.1 spacy==3.8.18 "xxhash<4"
    echo "import site; site.addsitedir('$PWD/.venv/lib/python3.11/site-packages')" \
        > /tmp/datatrove/lib/python3.11/site-packages/ours.pth
    /tmp/datatrove/bin/python tests/benchmarks/decontamination_peer.py

Every tenth document contains an item, and both have to find these and no others. Ours masks digits, looks for 13 words
in a row, whole short items, and five-word n-grams of edited ones; datatrove's looks for 12 words in a row.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bench_curation import DOCUMENTS, documents
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontFilter
from datatrove.utils.text import ngrams, simplify_text
from measure import race

from step3vl.pipelines.curation.benchmarks import Item
from step3vl.pipelines.curation.config import DecontaminateConfig, ImagesConfig
from step3vl.pipelines.curation.decontaminate import NO_HASHES, BenchmarkIndex, Decontaminator
from step3vl.pipelines.curation.words import normalise

ROUNDS = 3
ITEM_WORDS = 60


def main() -> None:
    """Print the megabytes of text that each searches in a CPU-second."""
    everything = documents(2 * DOCUMENTS)
    items = [" ".join(words.split()[:ITEM_WORDS]) for words in everything[DOCUMENTS:]]
    texts = [f"{words} {items[n]}" if n % 10 == 0 else words for n, words in enumerate(everything[:DOCUMENTS])]
    config = DecontaminateConfig(benchmarks=("none",))
    index = BenchmarkIndex.of([Item(str(n), item) for n, item in enumerate(items)], config)
    search = Decontaminator(index, config, ImagesConfig())

    def ours() -> int:
        return sum(
            hit is not None for hit in search.check([normalise(text) for text in texts], [NO_HASHES] * len(texts))
        )

    with TemporaryDirectory() as folder:
        filter = NGramsDecontFilter(folder)
        # As its indexer does, which wants lighteval.
        tokens = [filter.tokenizer.word_tokenize(simplify_text(item, filter.config.norm_config)) for item in items]
        grams = {" ".join(gram) for words in tokens for gram in ngrams(words, filter.config.n_grams)}
        hashes = np.array([*map(filter.hash_func, grams)], filter.config.hash_config.np_descr)
        hashes.tofile(Path(folder) / "items.index.hashes")

        def datatrove() -> int:
            return sum(filter.filter(Document(text=text, id=str(n))) is not True for n, text in enumerate(texts))

        seconds = race({"ours": ours, "datatrove": datatrove}, ROUNDS)
    megabytes = sum(map(len, texts)) / 1e6
    rates = {name: megabytes / value for name, value in seconds.items()}
    print(f"{len(texts):,} documents, {len(items):,} items, {ours():,} contaminated documents found by both")
    for name, rate in rates.items():
        print(f"{name}: {rate:.2f} MB/cpu-s")
    print(f"ours does {rates['ours'] / rates['datatrove']:.1f} times as much")


if __name__ == "__main__":
    main()
