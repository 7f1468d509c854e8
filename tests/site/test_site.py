"""The site as a browser shows it. `make check-site` builds it before."""

from pathlib import Path

import pytest

from support.site import CHROMIUM, Browser, broken_links, contrast

SITE = Path(__file__).parents[2] / "build" / "site"
PAGES = sorted(str(file.relative_to(SITE)) for file in SITE.rglob("*.html"))
DRAWN = [page for page in PAGES if 'class="drawn' in (SITE / page).read_text(encoding="utf-8")]

if not PAGES:
    pytest.skip("there is no build/site; `make check-site` builds it", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; `make check-site` does it")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as started:
        yield Browser(started)


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_bars_nobody(browser, page):
    assert browser.barriers(SITE / page) == []


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_is_no_wider_than_a_phone(browser, page):
    assert browser.too_wide(SITE / page, 360) == []
    assert browser.too_wide(SITE / page, 390) == []


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_asks_for_nothing_from_elsewhere_and_logs_no_error(browser, page):
    browser.open(SITE / page).context.close()

    assert browser.asked == []
    assert browser.said == []


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page):
    assert broken_links(SITE / page) == []


@pytest.mark.parametrize("page", [page for page in PAGES if not page.startswith("benchmarks/")])
def test_page_is_small(page):
    assert (SITE / page).stat().st_size <= 300_000


@needs_chromium
@pytest.mark.parametrize("page", DRAWN)
def test_texts_of_drawings_can_be_read_on_a_phone(browser, page):
    for theme in ("light", "dark"):
        for text, size, colour, behind in browser.drawn_texts(SITE / page, width=390, theme=theme):
            assert size > 10.9, text
            assert contrast(colour, behind) >= 4.5, text


@needs_chromium
@pytest.mark.parametrize("page", DRAWN)
def test_drawings_follow_the_switch_of_the_page_and_else_the_system(browser, page):
    light, dark = (browser.drawn_texts(SITE / page, theme=theme, system="light") for theme in ("light", "dark"))

    assert light != dark
    assert browser.drawn_texts(SITE / page, theme="dark", system="dark") == dark
    assert browser.drawn_texts(SITE / page, theme="auto", system="dark") == dark
    assert browser.drawn_texts(SITE / page, theme="auto", system="light") == light
    assert browser.drawn_texts(SITE / page, theme="light", system="dark") == light


@needs_chromium
@pytest.mark.parametrize("words", ["take_padded", "crash"])
def test_search_of_files_finds_pages_that_have_the_word(browser, words):
    page = browser.open(SITE / "index.html")

    page.fill("input[name=q]", words)
    page.press("input[name=q]", "Enter")
    page.wait_for_selector("#search-results li a")
    page.click("#search-results li a")
    page.wait_for_load_state()

    assert "search.html" not in page.url
    assert words in page.inner_text("article").lower()
    assert browser.asked == []
    assert browser.said == []


BAD = """<!doctype html><html lang=en><title>Bad</title><body><article>
<img src="https://example.com/x.png"><img src=missing.png alt=missing><div style="width: 500px">wide</div>
<p style="color: #aaa">pale</p><a href="#nowhere">x</a><a href="http:nonsense">y</a><a href="index.htm">z</a>
<script>console.error("said")</script></article></body></html>"""


@needs_chromium
def test_checks_find_what_is_wrong_with_a_page(browser, tmp_path):
    file = tmp_path / "bad.html"
    file.write_text(BAD)

    assert {rule for rule, _ in browser.barriers(file)} >= {"image-alt", "color-contrast"}
    assert "the page" in browser.too_wide(file, 390)
    assert broken_links(file) == ["missing.png", "#nowhere", "http:nonsense", "index.htm"]
    browser.open(file)
    assert browser.asked == ["https://example.com/x.png"]
    assert "said" in browser.said
