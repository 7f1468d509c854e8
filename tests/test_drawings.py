"""The drawings of the pages are what their sources give, and can be read on a phone, and by those who cannot see."""

import re
import runpy
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(ROOT.glob("docs/drawings/*.txt"))
PHONE = 343  # pixels that a page has for a drawing, on a screen of 375
SMALLEST = 9.5  # pixels of a letter that can be read

tool = runpy.run_path(str(ROOT / "tools" / "drawings.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_drawing_is_what_its_source_gives(source):
    committed = source.with_suffix(".svg").read_text()

    assert committed == tool["svg"](source.stem, source.read_text()), "run: make drawings"


@pytest.mark.parametrize("drawing", sorted(ROOT.glob("docs/drawings/*.svg")), ids=lambda drawing: drawing.stem)
def test_drawing_says_what_it_shows(drawing):
    root = ET.parse(drawing).getroot()  # noqa: S314 - our own file

    said = [root.find(f"{{http://www.w3.org/2000/svg}}{name}") for name in ("title", "desc")]
    assert all(element.text.strip() for element in said)
    assert [element.get("id") for element in said] == root.get("aria-labelledby").split()


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_drawing_can_be_read_at_the_width_of_a_phone(source):
    width = int(re.search(r' width="(\d+)"', source.with_suffix(".svg").read_text())[1])

    assert 12.5 * min(PHONE / width, 1) >= SMALLEST


def test_boxes_that_are_not_closed_are_an_error():
    with pytest.raises(RuntimeError):
        tool["svg"]("open", "title\ndescription\n\n┌──┐\n│  │\n")


def test_lines_arrows_and_styles_are_drawn_where_they_stand():
    drawn = tool["svg"]("x", "title\nwhat\n\n─▶ `a<b` *c* d\n┄\n")

    assert '<path class="line" d="M0 8.5H12"/>' in drawn
    assert '<path class="dashed" d="M0 25.5H8"/>' in drawn
    assert '<tspan class="code">a&lt;b</tspan> <tspan class="strong">c</tspan> d</text>' in drawn
