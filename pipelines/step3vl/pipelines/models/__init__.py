"""Annotators: models that label the rows of a domain's model step."""
