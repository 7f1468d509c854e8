"""What `docs/hooks` makes of links and drawings."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("myst_parser", reason="Sphinx is not installed; `make check-site` does it")

HOOKS = Path(__file__).parents[2] / "docs" / "hooks"
CONF = f"""
import sys
sys.path.insert(0, {str(HOOKS)!r})
extensions = ["myst_parser", "links", "drawings"]
myst_heading_anchors = 3
links_repository = "https://example.com/code"
links_pages = {{"CHANGES.md": "changes"}}
"""
PLAIN = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 10" font-size="10"><text id="a">x</text></svg>'
THEMED = PLAIN.replace(
    "<text",
    "<style>text { fill: #111 } @media (prefers-color-scheme: dark) { text { fill: #eee } }</style><text",
)


@pytest.fixture
def build(tmp_path):
    """Build a page of this text, beside a page that includes a file; return the process, and the pages."""

    def make(text, **drawings):
        docs = tmp_path / "docs"
        (docs / "deep").mkdir(parents=True)
        (tmp_path / "src").mkdir()
        (tmp_path / "src" / "code.py").write_text("")
        (tmp_path / "CHANGES.md").write_text(
            "# Changes\n\n[page](docs/deep/page.md#part) [code](src/code.py) [all](src)\n"
        )
        (docs / "conf.py").write_text(CONF)
        (docs / "index.md").write_text("# Index\n\n```{toctree}\ndeep/page\nchanges\n```\n")
        (docs / "changes.md").write_text("# Changes\n\n```{include} ../CHANGES.md\n:start-line: 1\n```\n")
        for name, drawing in drawings.items():
            (docs / "deep" / f"{name}.svg").write_text(drawing)
        (docs / "deep" / "page.md").write_text(f"# Page\n\n## Part\n\n{text}\n")
        command = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "--keep-going", docs, tmp_path / "site"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        pages = {name: tmp_path / "site" / f"{name}.html" for name in ("deep/page", "changes")}
        return done, {name: file.read_text() if file.exists() else "" for name, file in pages.items()}

    return make


def test_links_of_pages_and_of_what_they_include_lead_to_pages_or_else_to_the_repository(build):
    done, pages = build("[changes](../../CHANGES.md) [code](../../src/code.py) [drawing](x.svg)", x=PLAIN)

    assert done.stderr == ""
    assert 'href="../changes.html"' in pages["deep/page"]
    assert 'href="https://example.com/code/blob/main/src/code.py"' in pages["deep/page"]
    assert 'href="https://example.com/code/blob/main/docs/deep/x.svg"' in pages["deep/page"]
    assert 'href="deep/page.html#part"' in pages["changes"]
    assert 'href="https://example.com/code/blob/main/src/code.py"' in pages["changes"]
    assert 'href="https://example.com/code/tree/main/src"' in pages["changes"]


@pytest.mark.parametrize("target", ["gone.md", "../../gone.py", "../../../outside.md", "../index.md#gone"])
def test_link_that_leads_nowhere_fails_the_build(build, target):
    done, _ = build(f"[gone]({target})")

    assert done.returncode != 0
    assert "page.md:5: WARNING" in done.stderr


def test_drawing_becomes_a_part_of_the_page_with_the_text_for_those_who_cannot_see_it(build):
    done, pages = build("![a *drawing*](x.svg)\n![another](y.svg)", x=THEMED, y=PLAIN)

    assert done.stderr == ""
    assert pages["deep/page"].count("<svg") == 2
    assert 'role="img" aria-label="a drawing"' in pages["deep/page"]
    assert 'id="drawing-1-a"' in pages["deep/page"]
    assert 'id="drawing-2-a"' in pages["deep/page"]


def test_drawing_with_colours_for_the_dark_follows_the_switch_and_one_without_has_a_light_background(build):
    _, pages = build("![one](x.svg)\n![two](y.svg)", x=THEMED, y=PLAIN)

    one, two = pages["deep/page"].split("<svg")[:2]
    assert 'class="drawn"' in one
    assert "body[data-theme=dark] #drawing-1 {  text { fill: #eee }  }" in pages["deep/page"]
    assert 'class="drawn drawn-light"' in two


@pytest.mark.parametrize("image", ["![gone](gone.svg)", "![](x.svg)"])
def test_drawing_that_is_missing_or_has_no_text_fails_the_build(build, image):
    done, _ = build(image, x=PLAIN)

    assert done.returncode != 0
    assert "page.md:" in done.stderr
