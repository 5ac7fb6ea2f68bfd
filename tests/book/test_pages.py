"""Every page of the built book, opened from disk in Chromium without a network, as a reader would open it."""

import html
import io
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

import numpy as np
import pytest
from PIL import Image

from tools import toc
from tools.build import STRICT, definitions

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
WIDTHS = (360, 768, 1440)
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs Chromium")


def module_pages() -> list[str]:
    modules = (path.relative_to(ROOT).with_suffix("") for path in sorted((ROOT / "llmbook").rglob("*.py")))
    return [f"_modules/{module}" for module in modules if not module.name.startswith("_")]


TOC = toc.entries()
CHAPTERS = toc.chapters()
NOTEBOOKS = toc.notebooks()
EXPORTING = [notebook for notebook in NOTEBOOKS if toc.exports(notebook)]
PAGES = [*TOC, *module_pages(), "search", "genindex", "py-modindex"]
# A word that a reader of the chapter would look for, and that its pages must come up under.
TERMS = {"00_preliminaries": "atomic", "01_data": "MinHash", "02_tokenization": "merges", "03_attention": "softmax",
         "04_architecture": "RMSNorm", "05_training": "perplexity", "07_inference": "healing",
         "09_end_to_end": "command line"}  # fmt: skip


@pytest.fixture(scope="session")
def book() -> Path:
    """Build the book, with warnings as errors, and return its folder."""
    done = subprocess.run([sys.executable, "-m", "tools.build", "html", *STRICT], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return HTML


@pytest.fixture(scope="session")
def browser(book):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM or "chromium", args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page without a network."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    yield page
    context.close()


@dataclass
class Visit:
    """What a page did while it was looked at in every width and in both modes."""

    external: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    formulas: int = 0
    raw_formulas: list[str] = field(default_factory=list)
    overflow: list[str] = field(default_factory=list)
    faint: list[str] = field(default_factory=list)
    figures: int = 0
    illegible: list[str] = field(default_factory=list)


RAW_FORMULAS = r"""() => {
  const raw = [];
  for (const math of document.querySelectorAll(".math"))
    if (!math.querySelector("mjx-container") || math.querySelector("mjx-merror, [data-mjx-error]")) raw.push(math.textContent);
  const walker = document.createTreeWalker(document.querySelector("article") ?? document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    const isProse = !text.parentElement.closest("pre, code, script, style, mjx-container");
    if (isProse && /\\\(|\\\[|\$\$/.test(text.data)) raw.push(text.data);
  }
  return [document.querySelectorAll(".math").length, raw];
}"""

# What sticks out of the window, unless something between it and the window scrolls.
OVERFLOW = r"""() => {
  const found = [], root = document.scrollingElement;
  if (root.scrollWidth > innerWidth) found.push(`the page is ${root.scrollWidth} wide`);
  for (const element of (document.querySelector("article") ?? document.body).querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (box.width === 0 || box.right <= innerWidth + 1 || element.closest("mjx-assistive-mml, .visually-hidden")) continue;
    let scrolls = false;
    for (let around = element; around && around.tagName !== "ARTICLE"; around = around.parentElement)
      scrolls ||= ["auto", "scroll"].includes(getComputedStyle(around).overflowX);
    if (!scrolls) found.push(`${element.tagName}.${element.className} ends at ${Math.round(box.right)}`);
  }
  return found.slice(0, 5);
}"""

# Contrast of text by WCAG 2.2, against the nearest painted background; large text may have 3, other text needs 4.5.
FAINT = r"""() => {
  const parse = color => (color.match(/[\d.]+/g) ?? []).map(Number);
  const channel = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const background = element => {
    const [r, g, b, alpha = 1] = parse(getComputedStyle(element).backgroundColor);
    if (r !== undefined && alpha === 1) return [r, g, b];
    const below = element.parentElement ? background(element.parentElement) : [255, 255, 255];
    return r === undefined || alpha === 0 ? below : [r, g, b].map((value, i) => alpha * value + (1 - alpha) * below[i]);
  };
  const found = {};
  const walker = document.createTreeWalker(document.querySelector("article") ?? document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, style = getComputedStyle(element);
    if (!walker.currentNode.data.trim() || element.closest("script, style, mjx-assistive-mml") || !element.getClientRects().length)
      continue;
    if (element.matches("a.headerlink, .copybtn *")) continue;
    const [dark, bright] = [light(parse(style.color)), light(background(element))].sort((a, b) => a - b);
    const contrast = (bright + 0.05) / (dark + 0.05), large = parseFloat(style.fontSize) >= 24;
    const where = `${element.tagName}.${element.className} ${style.color} ${contrast.toFixed(2)}`;
    if (contrast < (large ? 3 : 4.5)) found[where] = walker.currentNode.data.trim().slice(0, 30);
  }
  return Object.entries(found).map(([what, text]) => `${what}: ${text}`);
}"""


def relative_luminance(pixels: np.ndarray) -> np.ndarray:
    """RGB bytes [..., 3] -> WCAG 2.2 relative luminance [...]."""
    stored = pixels / 255.0
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    return linear @ np.array([0.2126, 0.7152, 0.0722])


def figure_problem(png: bytes, dark: bool) -> str | None:
    """Say why a figure, as it is seen on the page, cannot be read there."""
    light = relative_luminance(np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=np.float64))
    ground = np.median(np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]]))
    if (ground > 0.2) == dark:
        return f"its background has luminance {ground:.2f}"
    contrast = (np.maximum(light, ground) + 0.05) / (np.minimum(light, ground) + 0.05)
    inked = (contrast >= 3).mean()
    return None if inked > 0.005 else f"only {inked:.2%} of it stands out from the background"


def look(browser, address: str) -> Visit:
    """Open a page without a network; look at it in each width, then at its colors in each mode."""
    visit = Visit()
    context = browser.new_context(offline=True, viewport={"width": WIDTHS[-1], "height": 1000}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on(
        "request",
        lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else visit.external.append(request.url),
    )
    page.on("requestfailed", lambda request: visit.failed.append(f"{request.url}: {request.failure}"))
    page.on("console", lambda message: visit.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visit.errors.append(str(error)))
    page.goto(address)
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready; }")
    page.evaluate("for (const folded of document.querySelectorAll('article details')) folded.open = true;")
    page.add_style_tag(content="*, *::before, *::after { transition: none !important; }")  # colors fade from mode to mode
    visit.formulas, visit.raw_formulas = page.evaluate(RAW_FORMULAS)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        visit.overflow += [f"{width} px: {what}" for what in page.evaluate(OVERFLOW)]
    for mode in ("light", "dark"):
        page.emulate_media(color_scheme=mode)
        page.wait_for_function(f"document.documentElement.dataset.theme === '{mode}'")
        visit.faint += [f"{mode}: {what}" for what in page.evaluate(FAINT)]
        for number, figure in enumerate(page.locator("article img").all()):
            visit.figures += mode == "light"
            if problem := figure_problem(figure.screenshot(animations="disabled"), dark=mode == "dark"):
                visit.illegible.append(f"figure {number} in {mode} mode: {problem}")
    context.close()
    return visit


@pytest.fixture(scope="session")
def visits(browser, book) -> dict[str, Visit]:
    """What each page did, filled in as pages are asked for."""

    class Visits(dict):
        def __missing__(self, page: str) -> Visit:
            self[page] = look(browser, (book / f"{page}.html").as_uri())
            return self[page]

    return Visits()


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_asks_for_nothing_external_and_nothing_fails(visits, page):
    visit = visits[page]
    assert not visit.external, f"asks the network for {visit.external}"
    assert not visit.failed and not visit.errors, visit.failed + visit.errors


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_has_every_formula_typeset(visits, page):
    assert not visits[page].raw_formulas


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_does_not_scroll_sideways(visits, page):
    assert not visits[page].overflow


@needs_chromium
@pytest.mark.parametrize("page", PAGES)
def test_page_is_legible_in_both_modes(visits, page):
    assert not visits[page].faint, "\n".join(visits[page].faint)
    assert not visits[page].illegible


@needs_chromium
def test_formulas_and_figures_were_there_to_be_seen(visits):
    assert sum(visits[page].formulas for page in NOTEBOOKS) > 300
    assert sum(visits[page].figures for page in NOTEBOOKS) > 15


@needs_chromium
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_search_finds_a_term_of_the_chapter(page, book, chapter):
    folder, errors = chapter.split("/")[1], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((book / "search.html").as_uri() + "?q=" + TERMS[folder])
    page.wait_for_selector(f"#search-results a[href*='{folder}']")
    assert not errors


@needs_chromium
@pytest.mark.parametrize("notebook", EXPORTING)
def test_badge_leads_to_the_module(page, book, notebook):
    page.goto((book / f"{notebook}.html").as_uri())
    badges = page.locator(".llmbook-export a")
    count = badges.count()
    assert count, "the notebook exports, but no badge says so"
    module = badges.last.inner_text()
    assert module == f"llmbook.{toc.module_of(notebook)}"
    targets = {badges.nth(i).get_attribute("href") for i in range(count)}
    badges.last.click()
    page.wait_for_url("**/_modules/**")
    assert module in page.locator("article h1").inner_text()
    for target in targets:
        anchor = urlparse(target).fragment
        assert not anchor or page.locator(f"[id='{anchor}']").count() == 1, f"{target} is not there"


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))


def code_of(page: Path) -> str:
    """Return the text of the code blocks of a page."""
    blocks = re.findall(r'<div class="highlight"><pre>(.*?)</pre>', page.read_text(encoding="utf-8"), flags=re.S)
    return "\n".join(html.unescape(re.sub(r"<[^>]+>", "", block)) for block in blocks)


def test_directives_of_the_exporter_are_not_shown(book):
    for page in NOTEBOOKS:
        assert not re.search(r"default_exp|#\|\s*export", text_of(book / f"{page}.html")), page


def test_a_notebooks_page_shows_the_code_of_its_module(book):
    for notebook in EXPORTING:
        shown = set(re.findall(r"^(?:async )?((?:def|class) \w+)", code_of(book / f"{notebook}.html"), flags=re.M))
        module = ROOT / "llmbook" / f"{toc.module_of(notebook).replace('.', '/')}.py"
        missing = [definition for definition in definitions(module) if definition not in shown]
        assert not missing, f"{notebook} does not show {missing}"


def test_figures_have_number_caption_and_text_and_their_code_is_under_them(book):
    counts: dict[str, int] = {}
    for notebook in NOTEBOOKS:
        page, chapter = (book / f"{notebook}.html").read_text(encoding="utf-8"), int(notebook.split("/")[1][:2])
        for figure, after in re.findall(r"<figure\b(.*?)</figure>(.{300})", page, flags=re.S):
            name = re.search(r'id="(fig-[a-z0-9-]+)"', figure)
            assert name, f"{notebook}: a figure without a name"
            counts[notebook] = counts.get(notebook, 0) + 1
            number = sum(count for other, count in counts.items() if other.split("/")[1] == notebook.split("/")[1])
            assert f'<span class="caption-number">Figure {chapter}.{number} ' in figure, f"{notebook}: {name[1]}"
            assert re.search(r'<img alt="[^"]{20,}"[^>]* src="[^"]+\.svg"', figure), f"{notebook}: {name[1]}"
            assert f'href="#{name[1]}"' in page.replace(figure, ""), f"{notebook}: the text does not lead to {name[1]}"
            assert '<details class="llmbook-figure-code"' in after, f"{notebook}: no code under {name[1]}"
    assert sum(counts.values()) > 15


def test_each_page_leads_to_the_next(book):
    for here, after in zip(TOC, TOC[1:], strict=False):
        page = book / f"{here}.html"
        link = re.search(r'<a class="right-next"\s+href="([^"]+)"', page.read_text(encoding="utf-8"))
        assert link and (page.parent / unquote(link[1])).resolve() == (book / f"{after}.html").resolve(), here


def test_links_within_the_book_lead_somewhere(book):
    ids: dict[Path, set[str]] = {}

    def anchors(page: Path) -> set[str]:
        if page not in ids:
            ids[page] = set(re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8")))
        return ids[page]

    for name in PAGES:
        page = book / f"{name}.html"
        for address in re.findall(r'<a\b[^>]*\shref="([^"]+)"', page.read_text(encoding="utf-8")):
            parts = urlparse(address)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
            assert target.exists(), f"{name} links to {address}, which is not there"
            if parts.fragment and target.suffix == ".html" and parts.fragment not in ("", "#"):
                assert unquote(parts.fragment) in anchors(target), f"{name} links to {address}, but the page has no such place"


def test_the_reference_holds_every_public_function_and_class(book):
    objects = {}
    for page in (book / "api").glob("*.html"):
        objects |= dict.fromkeys(
            re.findall(r'<dt class="sig[^"]*"[^>]*\sid="(llmbook[^"]+)"', page.read_text(encoding="utf-8")), page
        )
    for notebook in EXPORTING:
        module = toc.module_of(notebook)
        for definition in definitions(ROOT / "llmbook" / f"{module.replace('.', '/')}.py"):
            name = definition.split()[1]
            assert name.startswith("_") or f"llmbook.{module}.{name}" in objects, f"llmbook.{module}.{name} is not in the reference"


def test_no_page_shows_the_text_of_a_figure_instead_of_the_figure(book):
    pages = {page: re.sub("<[^>]+>", "", (book / f"{page}.html").read_text(encoding="utf-8")) for page in TOC}
    shown = [page for page, text in pages.items() if "&lt;Figure size" in text]
    assert not shown, "refer to a figure of another page by {numref}: glue shows its text"
