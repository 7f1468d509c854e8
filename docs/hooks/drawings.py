"""SVG drawings become a part of the page, so that they have its fonts and follow its switch between light and dark.

On GitHub they are images, which `@media (prefers-color-scheme: dark)` in them makes dark. A drawing without that, and
without `currentColor`, is drawn for light pages, and gets a light background.
"""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

SMALLEST = 11  # px that text is never shrunk below; a drawing that is too wide then is scrolled in a box of its own
DARK = re.compile(r"@media\s*\(prefers-color-scheme:\s*dark\)\s*\{((?:[^{}]*\{[^{}]*\})*[^{}]*)\}")
SIZE = re.compile(r"""font-size["':=\s]*([\d.]+)|font:[^;}"']*?([\d.]+)px""")

logger = logging.getLogger(__name__)


class Drawings(SphinxTransform):
    default_priority = 200  # before images are collected, to be copied

    def apply(self) -> None:
        images = [image for image in self.document.findall(nodes.image) if image["uri"].endswith(".svg")]
        for number, image in enumerate(images, 1):
            file = Path(image.source or self.document["source"]).parent / image["uri"]
            if not file.is_file():
                logger.warning("there is no drawing %r", image["uri"], location=image)
                continue
            if not image.get("alt"):
                logger.warning("the drawing %r has no text for those who cannot see it", image["uri"], location=image)
            self.env.note_dependency(str(file))
            html = inlined(file.read_text(encoding="utf-8"), f"drawing-{number}", image.get("alt", ""))
            image.replace_self(nodes.raw("", html, format="html"))


def inlined(drawing: str, name: str, alt: str) -> str:
    """Return a drawing in a box, as an element of a page, where its ids and styles concern no other one."""
    svg = ET.fromstring(drawing)  # noqa: S314 - our own file
    *_, width, _ = map(float, svg.attrib["viewBox"].split())
    ids = {element.attrib["id"] for element in svg.iter() if "id" in element.attrib}
    mine = re.compile(rf"#({'|'.join(map(re.escape, ids)) or '(?!)'})\b")
    for element in svg.iter():
        element.tag = element.tag.rpartition("}")[2]  # elements of a page need no namespace
        element.attrib = {
            key: f"{name}-{value}" if key == "id" else mine.sub(rf"#{name}-\1", value)
            for key, value in element.attrib.items()
            if not key.startswith("{")
        }
        if element.tag == "style":
            element.text = scoped(mine.sub(rf"#{name}-\1", element.text or ""), name)
    for title in svg.findall("title"):  # it would be shown wherever the mouse is
        svg.remove(title)
    for key in ("width", "height", "aria-labelledby"):
        svg.attrib.pop(key, None)
    smallest = min((float(size) for pair in SIZE.findall(drawing) for size in pair if size), default=16)
    least = round(width * SMALLEST / smallest)
    svg.attrib |= {"role": "img", "aria-label": alt, "style": f"width: {width:g}px; min-width: {least}px"}
    if (description := svg.find("desc")) is not None:
        description.attrib["id"] = svg.attrib["aria-describedby"] = f"{name}-description"
    light = "" if DARK.search(drawing) or "currentColor" in drawing else " drawn-light"
    return f'<span id="{name}" class="drawn{light}">{ET.tostring(svg, "unicode")}</span>'


def scoped(style: str, name: str) -> str:
    """Return the rules of a drawing for itself alone; those for the dark follow the switch of the page."""
    dark = "".join(DARK.findall(style)).replace(":root", "svg")
    rules = DARK.sub("", style).replace(":root", "svg")
    by_system = f"@media (prefers-color-scheme: dark) {{ body:not([data-theme=light]) #{name} {{ {dark} }} }}"
    return f"#{name} {{ {rules} }} {by_system} body[data-theme=dark] #{name} {{ {dark} }}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_transform(Drawings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
