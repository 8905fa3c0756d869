"""Which texts are rendered, and that what they contain stays inside of their page."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from step3vl.pipelines.view.viewer.rendered import POLICY, kind_of, rendered_page


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("<!DOCTYPE html><html></html>", "html"),
        ("  <table><tr><td>1</td></tr></table>", "html"),
        ('<?xml version="1.0"?>\n<svg xmlns="x"></svg>', "svg"),
        ("| a | b |\n| --- | :-: |\n| 1 | 2 |", "markdown"),
        ("# Title\n\nText", "markdown"),
        ("- a\n- b", "markdown"),
        ("```html\n<b>x</b>\n```", "html"),
        ("```\n<svg></svg>\n```", "svg"),
        ("```csv\na\n1\n```", "csv"),
        ("Year,Rye,Rice\n1950,1,2\n1960,3,4", "csv"),
        ("```python\nprint('<html>')\n```", None),
        ("```latex\n\\frac{1}{2}\n```", None),
        ("A sentence, with a comma.", None),
        ("One, two\nthree, four, five\nsix", None),
        ("x < y and <b> is bold", None),
        ("", None),
        ("<html>" + "x" * (1 << 18), None),
        ("|x|\n" + "-" * 100_000 + "x", None),
        ("\n" * 100_000 + "x", None),
    ],
)
def test_the_kind_of_a_text(text, kind):
    assert kind_of(text) == kind
    assert (rendered_page(text) is None) == (kind is None)


def test_tables_are_escaped_and_markdown_has_no_html():
    page = rendered_page('name,code\na,<script>1</script>\nb,"x, y"')
    assert "<td>&lt;script&gt;1&lt;/script&gt;</td>" in page
    assert "<td>x, y</td>" in page
    page = rendered_page("# Title\n\n<script>1</script> [x](javascript:1)\n\n| a |\n| --- |\n| 1 |")
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert "<td>1</td>" in page


def test_the_policy_lets_a_page_run_and_load_nothing():
    rules = dict(rule.partition(" ")[::2] for rule in POLICY.split("; "))
    assert rules["sandbox"] == ""  # no script, no form, an origin of its own
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'self'"
    assert not any("http" in rule or "'self'" in rule for name, rule in rules.items() if name != "frame-ancestors")


@settings(max_examples=60)
@given(st.text(alphabet="|-`#<>,\n \"ab'*", max_size=60))
def test_any_text_is_rendered_or_left_alone(text):
    assert (rendered_page(text) is None) == (kind_of(text) is None)
