"""Filters of a curation: each one a configuration with its thresholds and a pure function of a sample.

A new filter is a module here and a line in `FilterSet`.
"""
