"""What may be wrong with a built page: each check returns a list of what it found."""

import re
import shutil
from functools import cache
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
URL = re.compile(r"https?://[a-z0-9-]+(\.[a-z0-9-]+)+(:\d+)?(/[^\s<>\"\\^`{|}]*)?")


class Page(HTMLParser):
    """The links of a page, and the ids that links may lead to."""

    def __init__(self, file):
        super().__init__()
        self.links, self.ids = [], set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag in {"a", "link", "script", "img"}:
            self.links += [attributes[key] for key in ("href", "src") if attributes.get(key)]


@cache
def parsed(file):
    return Page(file)


def broken_links(file):
    broken = []
    for link in parsed(file).links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if not URL.fullmatch(link) and not link.startswith("mailto:"):
                broken.append(link)
            continue
        target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
        anchor = unquote(parts.fragment)
        if not target.is_file() or (anchor and target.suffix == ".html" and anchor not in parsed(target).ids):
            broken.append(link)
    return broken


class Browser:
    """A Chromium without a network: a page that wants something from there asks in vain, and that is noted."""

    def __init__(self, playwright):
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - links are checked without it

        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
        self.chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        self.axe = Axe()
        self.asked, self.said = [], []

    def open(self, file, *, width=1280, theme="light", system="light", query=""):
        """Open a page with a theme of its switch, on a system that prefers light or dark."""
        self.asked, self.said = [], []
        context = self.chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=system)
        context.add_init_script(f"try {{ localStorage.setItem('theme', '{theme}') }} catch {{}}")
        context.route(lambda url: not url.startswith(("file:", "data:")), self.refuse)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.goto(file.as_uri() + query)
        page.evaluate("document.fonts.ready")
        return page

    def refuse(self, route):
        self.asked.append(route.request.url)
        route.abort()

    def barriers(self, file):
        """What bars people from the page, by the rules of axe-core: on a phone in the dark, on a desk in the light."""
        found = set()
        page = self.open(file)
        # Colours do not depend on the width, nor the layout on the theme: two of the four pairs try all of both.
        for width, theme in ((390, "dark"), (1280, "light")):
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate(f"document.body.dataset.theme = '{theme}'")
            for rule in self.axe.run(page, options={"resultTypes": ["violations"]}).response["violations"]:
                if rule["impact"] in {"serious", "critical"}:
                    found |= {(rule["id"], node["html"][:200]) for node in rule["nodes"]}
        page.context.close()
        return sorted(found)

    def too_wide(self, file, width):
        page = self.open(file, width=width)
        found = page.evaluate(TOO_WIDE)
        page.context.close()
        return found

    def drawn_texts(self, file, **options):
        """The texts of all drawings of a page: each with its size on the screen, its colour, and that behind it."""
        page = self.open(file, **options)
        found = page.evaluate(DRAWN_TEXTS)
        page.context.close()
        return [(text, size, tuple(colour), tuple(behind)) for text, size, colour, behind in found]


# The whole page, and what sticks out of the screen without a box that scrolls.
TOO_WIDE = """() => {
    const found = document.documentElement.scrollWidth > innerWidth ? ["the page"] : []
    const scrolls = (element) => element && element.tagName != "BODY" &&
        (["auto", "scroll"].includes(getComputedStyle(element).overflowX) || scrolls(element.parentElement))
    for (const element of document.querySelectorAll("article *"))
        if (element.getBoundingClientRect().right > innerWidth + 1 && !scrolls(element))
            found.push(element.outerHTML.slice(0, 200))
    return found
}"""
DRAWN_TEXTS = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number)
    const found = []
    for (const svg of document.querySelectorAll(".drawn svg")) {
        const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width
        const page = svg.querySelector(".page")
        const box = svg.closest(".drawn-light")
        const behind = page ? getComputedStyle(page).fill : getComputedStyle(box || document.body).backgroundColor
        for (const text of svg.querySelectorAll("text")) {
            const style = getComputedStyle(text)
            found.push([text.textContent, parseFloat(style.fontSize) * scale, numbers(style.fill), numbers(behind)])
        }
    }
    return found
}"""


def contrast(one, other):
    """The contrast of two colours, as WCAG defines it."""

    def luminance(colour):
        parts = [part / 255 for part in colour[:3]]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
