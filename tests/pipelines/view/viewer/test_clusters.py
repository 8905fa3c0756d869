"""Clusters of the evidence: counted as a counter does, however the evidence is parted."""

import random
from collections import Counter

from step3vl.data.storage import DEFAULT_STORE, Store
from step3vl.pipelines.curation.evidence import evidence_part, write_evidence
from step3vl.pipelines.view.viewer.clusters import find_clusters


def test_samples_are_counted_by_the_one_that_they_were_dropped_for(tmp_path, build_dataset, samples):
    dataset = build_dataset(tmp_path / "dataset", samples.values())
    files, choices = Store(dataset.url, DEFAULT_STORE), random.Random(0)
    kept = [f"{choices.randrange(16**32):032x}" for _ in range(20)]
    matches = [choices.choice(kept) for _ in range(200)]
    rows = [{"id": f"{n:032x}", "matched_id": id, "matched_dataset": "raw"} for n, id in enumerate(matches)]
    item = {"id": "f" * 32, "matched_id": "exams.jsonl:0", "matched_dataset": ""}  # of a benchmark, which is no sample
    for number in range(3):
        write_evidence(files, evidence_part(number, 3), [*rows[number::3], item])
    clusters = find_clusters(dataset)
    assert (clusters.total, clusters.dropped) == (len(set(matches)), 200)
    assert {cluster.id: cluster.dropped for cluster in clusters.largest} == Counter(matches)
    assert [cluster.dropped for cluster in clusters.largest] == sorted(Counter(matches).values(), reverse=True)
