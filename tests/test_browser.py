"""The published site as readers meet it, in a real browser, from files.

Needs the extra `browser` of pyproject.toml and a Chromium; without them these tests are skipped, and say so.
"""

from itertools import product

import pytest

from lib import pictures, runs

axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra `browser` is not installed")

SITE = runs.ROOT / "report"
PAGES = sorted(path.name for path in SITE.glob("*.html"))
WIDTHS = (360, 768, 1440)
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}  # dark mode changes nothing else
PAPER = 680  # the printed width of A4 within its margins, in CSS pixels
HEIGHT = 970  # and its height, less a caption


@pytest.fixture
def visit(browser):
    """visit(page, width) -> a loaded page, with the lists of what it asked for and what it complained of."""
    contexts = []

    def go(name, width=1440):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme="light"))
        page = contexts[-1].new_page()
        page.requests, page.complaints = [], []
        page.on("request", lambda request: page.requests.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto((SITE / name).as_uri())
        return page

    yield go
    for context in contexts:
        context.close()


def test_the_site_is_there_and_light():
    assert "index.html" in PAGES
    sizes = {path.name: path.stat().st_size for path in SITE.iterdir()}
    assert max(sizes.values()) <= 2e6
    assert sum(sizes.values()) <= 6e6


@pytest.mark.parametrize(("name", "width"), [*product(PAGES, WIDTHS)])
def test_a_page_is_whole_quiet_and_accessible(visit, name, width):
    page = visit(name, width)
    assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
    assert len([url for url in page.requests if url.startswith("file:")]) == 1
    assert page.complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme, rules in [("light", WCAG), ("dark", COLOURS)]:
        page.emulate_media(color_scheme=scheme)
        found = axe.Axe().run(page, options={"runOnly": rules}).response["violations"]
        assert [f"{scheme}, {v['id']}: {node['html'][:120]}" for v in found for node in v["nodes"][:2]] == []


@pytest.mark.parametrize("name", PAGES)
def test_links_pictures_and_ids(visit, name):
    page = visit(name)
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    for href in page.eval_on_selector_all("a[href]", "all => all.map(e => e.getAttribute('href'))"):
        path, _, fragment = href.partition("#")
        if ":" in path or path.startswith("../"):
            continue
        assert path in ("", *PAGES), href
        if fragment:
            target = (SITE / (path or name)).read_text(encoding="utf-8")
            assert f'id="{fragment}"' in target, href
    texts = page.eval_on_selector_all(
        "img, svg[role=img]", "all => all.map(e => e.getAttribute('alt') || e.getAttribute('aria-label') || '')"
    )
    assert [text for text in texts if len(text) < 20] == []
    told = [text for text in texts if text != pictures.nothing().alt]
    assert len(told) == len(set(told)), "two pictures are described alike"


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_reaches_everything(visit, name):
    page = visit(name)
    page.eval_on_selector_all("details", "all => all.forEach(e => e.open = true)")
    targets = page.evaluate(
        """() => [...document.querySelectorAll("a[href], summary, [tabindex]")].filter(e => {
            if (!e.checkVisibility()) return false;  // contents that another width shows
            e.focus({preventScroll: true}); return document.activeElement !== e || e.tabIndex !== 0; }).length"""
    )
    assert targets == 0
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(5):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.outerHTML"))
    assert len(reached) == 5
    wide = "e => e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'visible' && e.tabIndex < 0"
    assert page.evaluate(f"[...document.querySelectorAll('main *')].filter({wide}).length") == 0


@pytest.mark.parametrize("name", PAGES)
def test_a_phone_shows_values_and_gives_fingers_room(visit, name):
    page = visit(name, 360)
    left = "all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().left)"
    assert [x for x in page.eval_on_selector_all("tbody tr > :nth-child(2)", left) if x > 300] == []
    height = "all => all.filter(e => e.checkVisibility()).map(e => e.getBoundingClientRect().height)"
    targets = "header a, summary, .contents a, .download, .claims a"
    assert [y for y in page.eval_on_selector_all(targets, height) if y < 24] == []


@pytest.mark.parametrize("name", PAGES)
def test_print_gives_whole_figures(visit, name):
    page = visit(name, PAPER)
    page.emulate_media(media="print")
    boxes = page.eval_on_selector_all(
        "figure svg, figure img", "all => all.map(e => e.getBoundingClientRect().toJSON())"
    )
    assert [box for box in boxes if box["right"] > PAPER + 1 or box["height"] > HEIGHT] == []
