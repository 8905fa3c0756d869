"""Curation: from the samples of any datasets to the dataset that a trainer trusts."""
