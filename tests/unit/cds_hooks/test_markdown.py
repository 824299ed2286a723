"""Text from FHIR stays text."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from cds_service.cds_hooks.markdown import markdown_text, plain_text

GFM = MarkdownIt("gfm-like")  # tables, strikethrough, HTML, and a linkifier that is keener than GitHub's
HARMLESS = {"paragraph", "inline", "text", "text_special"}


def kinds(tokens):
    for token in tokens:
        yield token.type.removesuffix("_open").removesuffix("_close")
        yield from kinds(token.children or [])


def shown(markdown):
    tokens = [child for token in GFM.parse(markdown) for child in token.children or []]
    return "".join(token.content for token in tokens).replace("\u200b", "")


HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "<script>alert(1)</script>",
    "<!-- comment -->",
    "[x](javascript:alert(1))",
    "![](http://evil.example.com/a.png)",
    "<http://evil.example.com>",
    "http://evil.example.com/?a=b",
    "HTTPS://EVIL.EXAMPLE.COM",
    "www.evil.com",
    "evil.com/path",
    "//evil.com",
    "ftp://evil.com",
    "mailto:a@evil.com",
    "a@evil.com",
    "`code`",
    "``` fence",
    "| a | b |",
    "*bold* _under_ ~~gone~~",
    "# heading",
    "> quote",
    "- item",
    "+ item",
    "1. item",
    "1) item",
    "---",
    "===",
    "    code block",
    "&lt;b&gt; &amp;",
    "back\\slash \\*",
    "[ref]: http://evil.com",
    ": definition",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_bad_input_93_hostile_text_is_shown_as_its_characters(text):
    markdown = markdown_text(text)
    assert set(kinds(GFM.parse(markdown))) <= HARMLESS
    assert shown(markdown) == text.strip()


@pytest.mark.parametrize("text", HOSTILE)
def test_bad_input_93_no_cell_is_left(text):
    row = GFM.render(f"| a | b |\n|---|---|\n| {markdown_text(text)} | next |")
    assert row.count("<td>") == 2
    assert "<a " not in row
    assert "<img" not in row


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("a\u202eb", "a b"),  # right-to-left override
        ("a\u2066b\u2069c", "a b c"),
        ("a\x00b\x1bc", "a b c"),
        ("a\r\nb\tc", "a b c"),
        ("a\u2028b", "a b"),
        ("a\u200bb", "a b"),
        ("\ud800x", "x"),
    ],
)
def test_bad_input_93_controls_and_direction_marks_are_gone(text, visible):
    assert plain_text(text, 50) == visible


def test_bad_input_93_no_host_follows_an_at_sign():
    """GitHub links a@b.5c, our linkifier does not: the gap after the sign holds for both."""
    assert "@b" not in markdown_text("a@b.5c")


def test_ordinary_clinical_text_is_left_as_it_is():
    for text in (
        "MS Contin 30 mg, every 12 h",
        "0.75 mL/d x 20 mg/mL = 15 mg/d",
        "2026-01-03",
        "Condition/c-1",
        "G89.28",
    ):
        assert markdown_text(text) == text


def test_bad_input_93_length_is_counted_in_code_points():
    text = "\N{GRINNING FACE}" * 10_000
    assert len(plain_text(text, 100)) == 100
    assert plain_text("a" * 100, 100) == "a" * 100


@pytest.mark.parametrize("value", [None, 7, [], {}, True])
def test_what_is_no_text_is_nothing(value):
    assert markdown_text(value) == ""


@given(st.text(max_size=60) | st.text(alphabet="<>[]()`*_~|\\!#&:/.@-+=1aw \n\t", max_size=30))
def test_bad_input_93_whatever_the_text(text):
    markdown = markdown_text(text, 80)
    assert "\n" not in markdown
    tokens = GFM.parse(markdown)
    assert set(kinds(tokens)) <= HARMLESS
    assert len(plain_text(text, 80)) <= 80
    assert not any(unicodedata.category(mark) in {"Cc", "Cs"} for mark in markdown)
    inside = GFM.parse(f"| a | b |\n|---|---|\n| x {markdown} | next |")
    assert sum(token.type == "td_open" for token in inside) == 2
    assert not {"link", "image", "html_inline", "html_block", "code_inline", "em", "strong", "s"} & set(kinds(inside))
