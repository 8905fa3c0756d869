"""Benchmarks: their official files, prompts, extraction and metrics, and the runs that are scored by them."""
