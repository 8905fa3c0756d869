"""Other people's scorers beside ours: the same items and replies, their verdicts, and why some differ from ours.

- `replies`, `task_replies`: items and replies of our making, by form; those that one benchmark's scorer needs.
- `cases`: which of our benchmarks meets which function of a peer on which items.
- `aggregates`: from verdicts to numbers, where that is more than a mean.
- `coverage`: which benchmarks are compared, by what, and why some are not.
- `lmms_eval_peer`, `vlmevalkit_peer`, `lm_eval_peer`, `official_peers`: the peers' own functions, run in
  `.venv-eval-peers` only.
- `record`: the command that asks the peers and writes `verdicts.json`, or compares with it (`make eval-peers`).
- `recorded`: the same functions on outputs that benchmarks' authors recorded.
- `run_lmms_eval`, `run_vlmevalkit`: our model in both harnesses, for `tests/peers/test_eval_harnesses.py`.
- `traps.json`: the known differences as data, with the reason of each.

`tests/evaluation/test_crosschecks.py` holds our verdicts to those recorded ones without any of the peers.
"""
