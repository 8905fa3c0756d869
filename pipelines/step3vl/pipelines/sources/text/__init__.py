"""Texts in many languages and scripts, from files of any size."""
