"""The built site in headless Chromium: formulas, figures, links, phones, the dark, search.

Set SENUMPY_SITE to a folder that `senumpy lessons build` made; then a missing browser is an error.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from senumpy.lessons.serve import server

SITE = Path(os.environ.get("SENUMPY_SITE") or "no-site").absolute()
PAGES = sorted(str(path.relative_to(SITE)) for path in SITE.rglob("*.html") if "_static" not in path.parts)
CONTENT = [page for page in PAGES if page not in ("genindex.html", "search.html", "py-modindex.html")]
LESSONS = [page for page in PAGES if page[0].isdigit()]

pytestmark = pytest.mark.skipif(
    not os.environ.get("SENUMPY_SITE"),
    reason="no site: senumpy lessons build --out DIR, then set SENUMPY_SITE=DIR",
)

_FINISHED = """async () => {
  if (!document.querySelector('.math')) return true;
  await window.MathJax?.startup?.promise;
  return Boolean(window.MathJax?.startup?.promise);
}"""

# Elements that reach beyond the screen and cannot be scrolled to within a box of their own.
_TOO_WIDE = """() => {
  const article = document.querySelector('article');
  const scrolls = (element) => {
    for (let box = element.parentElement; box !== article; box = box.parentElement)
      if (['auto', 'scroll'].includes(getComputedStyle(box).overflowX)) return true;
    return false;
  };
  return [...article.querySelectorAll('*')]
    .filter((one) => one.getBoundingClientRect().right > window.innerWidth + 1)
    .filter((one) => !one.closest('mjx-assistive-mml') && !scrolls(one))
    .map((one) => `${one.tagName}.${one.className}: ${one.textContent.slice(0, 40)}`).slice(0, 5);
}"""

# The least contrast of any text with what is painted behind it, as the WCAG defines it.
_LEAST_CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = rgb.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(element).backgroundColor);
      if (a > 0.5) return [r, g, b];
    }
    return [255, 255, 255];
  };
  let least = [99, ''];
  const walker = document.createTreeWalker(document.querySelector('article'), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim().slice(0, 40);
    if (!text || element.closest('.headerlink, .copybtn, mjx-container, svg')) continue;
    if (!element.checkVisibility({visibilityProperty: true})) continue;
    const [one, other] = [parse(getComputedStyle(element).color).slice(0, 3), behind(element)].map(light);
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < least[0]) least = [contrast, element.className + ': ' + text];
  }
  return least;
}"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server(SITE, 0) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


class Watched:
    """A page whose console and requests are kept."""

    def __init__(self, browser: Any, **settings: Any):
        self.context = browser.new_context(**settings)
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.problems.append(f"failed: {request.url}"))
        self.page.on("response", self._response)

    def _console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.problems.append(message.text)

    def _response(self, response: Any) -> None:
        if response.status >= 400:
            self.problems.append(f"{response.status}: {response.url}")

    def show(self, url: str) -> Any:
        """Load a page, and wait until its formulas and requests are done."""
        self.page.goto(url)
        self.page.wait_for_function(_FINISHED)
        self.page.wait_for_load_state("networkidle")
        return self.page


@pytest.fixture
def watch(browser) -> Iterator[Any]:
    opened: list[Watched] = []

    def make(**settings: Any) -> Watched:
        opened.append(Watched(browser, **settings))
        return opened[-1]

    yield make
    for one in opened:
        one.context.close()


def test_the_site_is_whole():
    assert [int(page[:2]) for page in LESSONS] == list(range(1, 21))
    assert len([page for page in PAGES if page.startswith("api/")]) > 20


@pytest.mark.parametrize("name", PAGES)
def test_page(name, address, watch):
    """No console error, no request to another machine, formulas rendered, figures loaded and described."""
    watched = watch()
    page = watched.show(address + name)
    assert watched.problems == []
    assert [url for url in watched.requests if not url.startswith((address, "data:"))] == []
    assert page.title()
    assert page.locator("h1").count() == (name != "search.html")
    assert page.locator(".math").count() == page.locator(".math:has(mjx-container svg)").count()
    assert page.locator("[data-mml-node='merror'], mjx-merror").count() == 0
    assert page.locator(".math").count() == page.locator(".math:has(mjx-assistive-mml math)").count()
    for image in page.locator("article img").all():
        assert image.evaluate("image => image.naturalWidth") > 0
        alt = image.get_attribute("alt") or ""
        assert len(alt) >= 40, f"no text instead of {image.get_attribute('src')}"
        assert not alt.endswith((".png", ".svg"))


@pytest.mark.parametrize("name", LESSONS)
def test_lesson(name, address, watch):
    """A lesson shows figures and results, and no traceback; its answers are closed until somebody asks."""
    page = watch().show(address + name)
    assert page.locator("article .cell_output img").count() >= 1
    assert page.locator(".output.stderr, .output.traceback").count() == 0
    assert page.locator("article button.copybtn").count() >= 3
    answers = page.locator("details.dropdown")
    assert answers.count() >= 2
    last = answers.last
    assert not last.locator("p").first.is_visible()
    last.locator("summary").click()
    assert last.locator("p").first.is_visible()
    text = page.locator("article").inner_text()
    for sign in (":::", "{py:", "# exercise ", "# end of exercise"):
        assert sign not in text


@pytest.mark.parametrize("name", CONTENT)
def test_phone(name, address, watch):
    """At 390 pixels nothing sticks out: wide code, formulas and tables scroll in boxes of their own."""
    watched = watch(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    page = watched.show(address + name)
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(_TOO_WIDE) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "13_scale.html", "api/excitation.html", "api/conv2d.html"])
def test_contrast(name, scheme, address, watch):
    """Text is readable in the light and in the dark; figures keep their white card."""
    page = watch(color_scheme=scheme).show(address + name)
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    page.wait_for_timeout(500)  # what opens fades in
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    shade = sum(map(int, background.strip("rgb()").split(",")))
    assert shade < 150 if scheme == "dark" else shade > 700
    least, where = page.evaluate(_LEAST_CONTRAST)
    assert least >= 4.5, where
    for image in page.locator("article .cell_output img").all():
        assert image.evaluate("image => getComputedStyle(image).backgroundColor") == "rgb(255, 255, 255)"
    formula = page.locator("mjx-container").first
    if formula.count():
        colour = formula.evaluate("one => getComputedStyle(one).color")
        assert (sum(map(int, colour.strip("rgb()").split(","))) > 380) == (scheme == "dark")


def test_the_theme_can_be_switched(address, watch):
    page = watch(color_scheme="light").show(address + "13_scale.html")
    backgrounds = set()
    for _ in range(3):
        page.locator("button.theme-toggle:visible").first.click()
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


def test_search(address, watch):
    watched = watch()
    page = watched.show(address + "index.html")
    page.locator("input[name=q]").first.fill("squeeze")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    page.wait_for_load_state("networkidle")
    found = page.locator("#search-results li a").evaluate_all("all => all.map((one) => one.pathname)")
    assert "/11_squeeze.html" in found
    assert "/api/squeeze.html" in found
    assert watched.problems == []
    assert all(url.startswith(address) for url in watched.requests)


def test_from_the_disk(watch):
    """Opened as files, without a server: the same formulas, and search."""
    watched = watch()
    page = watched.show((SITE / "13_scale.html").as_uri())
    assert page.locator(".math").count() == page.locator(".math:has(mjx-container svg)").count() > 0
    page.goto((SITE / "search.html").as_uri() + "?q=squeeze")
    page.wait_for_selector("#search-results li a")
    assert watched.problems == []
    assert all(url.startswith(("file:", "data:")) for url in watched.requests)


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "a" and given.get("href"):
            self.targets.append(given["href"])
        if tag in ("img", "script", "link"):
            source = given.get("src") or given.get("href")
            if source and given.get("rel") not in ("canonical",):
                self.targets.append(source)


def test_links():
    """Every link within the site leads to a page and a place that are there."""
    pages = {}
    for name in PAGES:
        pages[name] = _Links()
        pages[name].feed((SITE / name).read_text())
    broken = []
    for name, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme:
                assert parts.scheme in ("https", "data", "mailto"), target
                continue
            path = os.path.normpath(Path(name).parent / unquote(parts.path)) if parts.path else name
            known = pages[path].ids if path in pages else {unquote(parts.fragment)}
            if not (SITE / path).is_file() or unquote(parts.fragment) not in {"", *known}:
                broken.append((name, target))
    assert broken == []
    assert sum(len(links.targets) for links in pages.values()) > 1000
