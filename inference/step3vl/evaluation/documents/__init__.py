"""Parsed pages against their annotations: OmniDocBench's matching, edit distances, reading order and TEDS."""
