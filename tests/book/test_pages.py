"""The built pages: complete, readable without a network, formulas typeset."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run", "--host-resolver-rules=MAP * ~NOTFOUND"]  # fmt: skip


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    """Build the book and return its pages, home first."""
    done = subprocess.run([sys.executable, ROOT / "theme" / "build.py", "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sys.path.insert(0, str(ROOT / "theme"))
    try:
        from execute import toc_entries
    finally:
        sys.path.pop(0)
    return [HTML / f"{entry}.html" for entry in toc_entries(ROOT / "_toc.yml")]


class Loads(HTMLParser):
    """Collect what a page loads by itself: scripts, styles, images, frames; not what a click follows."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video", "audio"):
            self.found.append(given.get("src") or "")
        elif tag == "link" and not {"next", "prev", "canonical", "author", "search"} & set((given.get("rel") or "").split()):
            self.found.append(given.get("href") or "")


def test_every_page_of_the_toc_is_built_and_loads_only_files_that_exist(pages):
    for page in pages:
        parser = Loads()
        parser.feed(page.read_text(encoding="utf-8"))
        for address in filter(None, parser.found):
            parts = urlparse(address)
            if parts.scheme == "data":
                continue
            assert not parts.scheme and not parts.netloc, f"{page.name} loads {address} from a network"
            assert (page.parent / unquote(parts.path)).exists(), f"{page.name} loads {address}, which is not there"


def test_directives_of_the_exporter_are_not_shown_and_modules_are_linked(pages):
    badges = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "default_exp" not in re.sub(r"<[^>]+>", "", text), page
        assert not re.search(r"#\|\s*export", re.sub(r"<[^>]+>", "", text)), page
        for target in re.findall(r'exported to <a class="[^"]*" href="([^"]+)"', text):
            assert (page.parent / target).exists(), target
            badges += 1
    assert badges > 50


def resources(page: Path, tmp_path: Path) -> tuple[list[str], str]:
    """Open a page in Chromium without a network; return the addresses that it loaded and its final text."""
    probe = page.with_name("probe-" + page.name)
    script = """<script>addEventListener("load", async () => {
      if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
      await new Promise(resolve => setTimeout(resolve, 500));
      const names = performance.getEntriesByType("resource").map(entry => entry.name);
      const out = document.createElement("pre"); out.id = "probe"; out.textContent = JSON.stringify(names);
      document.body.append(out);
    })</script></head>"""
    probe.write_text(page.read_text(encoding="utf-8").replace("</head>", script, 1), encoding="utf-8")
    try:
        command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", probe.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    finally:
        probe.unlink()
    match = re.search(r'<pre id="probe">(.*?)</pre>', dom, flags=re.S)
    assert match, "the page did not finish loading"
    return json.loads(match[1].replace("&amp;", "&")), dom


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_formulas_are_typeset_and_nothing_comes_from_a_network(pages, tmp_path):
    with_math = [page for page in pages if 'class="math notranslate nohighlight"' in page.read_text(encoding="utf-8")]
    assert with_math, "no page has a formula"
    for page in [pages[0], with_math[0], with_math[-1]]:
        addresses, dom = resources(page, tmp_path)
        for address in addresses:
            assert address.startswith("file://"), f"{page.name} asks for {address}"
            assert Path(unquote(urlparse(address).path)).exists(), f"{page.name} asks for {address}, which is not there"
        if page in with_math:
            raw = re.findall(r'class="math notranslate nohighlight"[^>]*>\s*\\[(\[]', dom)
            assert "<mjx-container" in dom and not raw, f"{page.name} shows raw TeX"
