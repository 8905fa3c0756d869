"""The command line, and what runs the stages of a workflow in order and reports on them.

Everything here is thin: it reads YAML, calls the other packages and shows what they did.
"""
