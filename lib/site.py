"""The site: executed notebooks and a front page as flat HTML files, with no script and no request to another host.

The front page's first figure also lies beside it, as story.svg.

An executed notebook says in its metadata, under "report", how it was made: {"key", "shows", "profile", "publish",
"small", "standin", "provenance"}, the last of these [(what, text), ...] for the foot of the page. Importing nbconvert
takes seconds, so it happens only where there is something to render.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from urllib.parse import quote

from lib.findings import DETAIL, VERDICTS
from lib.records import hashed, write

TEMPLATES = Path(__file__).parent / "templates"
NAMES = {"cnn": "CNN", "resnet": "ResNet", "recnet": "RecNet"}
NUMBER = re.compile(  # or a date, or an empty cell
    r"[-+\u2212]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?(\s?%)?(\s±\s[\d.]+)?|\d{4}-\d\d-\d\d|NaN|nan|[-\u2013]?"
)
TYPOGRAPHY = [  # what a keyboard lacks: (pattern, what stands for it)
    (re.compile(r"(?<=\d) ?%"), "\u00a0%"),
    (re.compile(r"(?<=\d) (?=(pp|px|seeds?)\b)|(?<=\bn) (?==)|(?<=\bn =) |(?<=\bn\u00a0=) "), "\u00a0"),
    (re.compile(r"(?<=\d) ± (?=\d)"), "\u00a0±\u00a0"),
    (re.compile(r"(?<=\[[-+\d])([\d.]*,) (?=[-+\d.]+\])"), "\\1\u00a0"),  # an interval
    (re.compile(r"(?<![\w.,/)-])-(?=\d)"), "\u2212"),
    (re.compile(r"^-$"), "\u2013"),
    (re.compile(r"(?<=\d)( ?)x(?=\1\d|\b)"), "\\1×"),
    (re.compile(r'(^|(?<=[\s(\[]))"'), "“"),
    (re.compile('"'), "”"),
    (re.compile(r"(^|(?<=[\s(\[“]))'"), "‘"),
    (re.compile("'"), "’"),
]
NAMED = re.compile(r"\b([^\W\d_]+-\d[\w.]*\b|\d[\d.]*e-\d+)")  # ResNet-18, 1e-16: no line may end behind its hyphen
PROSE = 80  # characters: a table with a longer cell is one of texts
LONG = 40  # rows: a longer table is folded


class SiteError(ValueError):
    """A page that can't be rendered; the message names it and says why."""


@dataclass(frozen=True)
class Site:
    """Which pages, out of which folders."""

    pages: tuple[str, ...]  # names of the notebooks without their ending, in reading order
    notebooks: Path  # their sources
    executed: Path
    folder: Path  # of the HTML files

    @property
    def texts(self):
        """Names of the pages that are text alone: the Markdown files beside the notebooks."""
        return tuple(sorted(path.stem for path in self.notebooks.glob("*.md")))


def label(page):
    """A page's name in the navigation: "04_recnet_paper" -> "4 RecNet paper"."""
    words = [str(int(word)) if word.isdigit() else NAMES.get(word, word) for word in page.split("_")]
    first = words[0].isdigit()  # the word that begins the name
    words[first] = words[first][0].upper() + words[first][1:]
    return " ".join(words)


def made(path):
    """How an executed notebook was made, {} where there is none or a damaged one."""
    try:
        notebook = json.loads(Path(path).read_bytes())
        report = notebook["metadata"]["report"]
        return report if report["digest"] == digest(notebook) else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def digest(notebook):
    """SHA-256 of what an executed notebook (as parsed JSON) shows and says of itself, by which damage shows."""
    report = {name: value for name, value in notebook["metadata"]["report"].items() if name != "digest"}
    return hashed([notebook["cells"], report])


def build(site, front_key, front):
    """Renders the executed notebooks and the front page, those that changed; returns the path of index.html.

    front: called if the front page must be made anew, gives what index.html.j2 shows; front_key: says when that is.
    Raises SiteError where a page can't be rendered.
    """
    site.folder.mkdir(parents=True, exist_ok=True)
    reports = {page: made(site.executed / f"{page}.ipynb") for page in site.pages}
    linked = tuple(page for page in site.pages if reports[page])
    for page in linked:
        _render(site, page, linked, reports[page])
    for name in site.texts:
        _render_text(site, name, linked, any(report.get("standin") for report in reports.values()))
    index = site.folder / "index.html"
    mark = _mark("index", front_key, linked, site.texts, [report.get("key") for report in reports.values()])
    if not _holds(index, mark):
        stories = map(_story, (site.executed / f"{page}.ipynb" for page in reversed(linked)))
        story, drawing = next(filter(any, stories), ("", ""))
        if drawing:  # for a README, say
            write(site.folder / "story.svg", drawing)
        outline = [(page, *_outline(site.notebooks / f"{page}.ipynb", page)) for page in site.pages]
        _write(site, "index", mark, linked, {"story": story, "outline": outline, **front()})
    return index


def _render(site, page, linked, report):
    mark = _mark(page, report["key"], linked, site.texts)
    if _holds(site.folder / f"{page}.html", mark):
        return
    import nbformat

    with _rendering(page):
        soup = _body(nbformat.read(site.executed / f"{page}.ipynb", 4))
    title = typeset(soup.h1.get_text()) if soup.h1 else label(page)
    contents = _tidy(soup, site, linked)
    i = linked.index(page)
    parts = {
        "title": title,
        "body": str(soup),
        "contents": contents,
        "before": linked[i - 1] if i else None,
        "after": linked[i + 1] if i + 1 < len(linked) else None,
    }
    _write(site, page, mark, linked, parts | report)


@contextlib.contextmanager
def _rendering(page):
    """Whatever goes wrong on the way from a source to its page, in any library, becomes a SiteError that names it."""
    try:
        yield
    except Exception as error:
        raise SiteError(f"{page} can't be rendered: {' '.join(f'{type(error).__name__}: {error}'.split())}") from None


def _render_text(site, name, linked, standin):
    from bs4 import BeautifulSoup

    with _rendering(name):
        source = (site.notebooks / f"{name}.md").read_text(encoding="utf-8")
    mark = _mark(name, source, linked, site.texts, standin)
    if not _holds(site.folder / f"{name}.html", mark):
        soup = BeautifulSoup(_markdown()(source), "html.parser")
        title = typeset(soup.h1.get_text()) if soup.h1 else label(name)
        parts = {"title": title, "contents": _tidy(soup, site, linked)}
        parts |= {"body": str(soup), "before": None, "after": None}
        parts |= {"standin": standin, "profile": None, "publish": False, "small": [], "provenance": []}
        _write(site, name, mark, linked, parts | {"shows": hashlib.sha256(source.encode()).hexdigest()[:16]})


def _mark(page, *parts):
    """What stands in a page's head, to tell whether it is up to date."""
    digest = hashlib.sha256(repr(parts).encode())
    for path in [Path(__file__), *sorted(TEMPLATES.rglob("*.*"))]:
        digest.update(path.read_bytes())
    return f"recnet-report {page} {digest.hexdigest()[:16]}"


def _marked(html, mark):
    """A page whose mark is followed by a digest of all the rest, by which damage shows."""
    head, _, rest = html.partition(mark)
    return f"{head}{mark} {hashlib.sha256((head + rest).encode()).hexdigest()[:16]}{rest}"


def _holds(path, mark):
    """Whether a page is there, up to date and as it was written."""
    html = path.read_bytes().decode(errors="replace") if path.exists() else ""
    head, _, rest = html.partition(mark)
    return html == _marked(head + mark + rest[17:], mark)


def _write(site, page, mark, linked, parts):
    import jinja2
    from bs4 import BeautifulSoup
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= {"label": label, "typeset": _whole, "number": _number}
    environment.globals["verdicts"] = VERDICTS
    environment.globals["badge"] = lambda word: Markup(_badge(BeautifulSoup("", "html.parser"), word))  # noqa: S704
    trusted = {name: Markup(parts[name]) for name in ("body", "story") if name in parts}  # noqa: S704 (rendered above)
    template = environment.get_template("index.html.j2" if page == "index" else "page.html.j2")
    html = template.render(parts | trusted, here=page, mark=mark, pages=site.pages, texts=site.texts, linked=linked)
    write(site.folder / f"{page}.html", _marked(html, mark))


# --- from a notebook to HTML ---


@cache
def _markdown():
    """A filter from Markdown to HTML, formulae to MathML. HTML in it is shown, not obeyed: it may come from records."""
    from latex2mathml.converter import convert
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    class Renderer(IPythonRenderer):
        def block_math(self, body):
            return "".join(convert(part, display="block") for part in _parts(body))

        def inline_math(self, body):
            return convert(body)

    def markdown(source):
        renderer = Renderer(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
        return MarkdownWithMath(renderer=renderer).render(source)

    return markdown


def _parts(formula):
    """The parts of a formula between its wide gaps, by which it may be broken: MathML has no line breaks of its own."""
    parts = re.split(r"(?:\\qquad\s*)+", formula)
    pairs = [("{", "}"), (r"\left", r"\right"), (r"\begin", r"\end")]
    return parts if all(part.count(a) == part.count(b) for part in parts for a, b in pairs) else [formula]


def _body(notebook):
    """The cells of a notebook as a soup of HTML elements."""
    from bs4 import BeautifulSoup
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(
        template_name="report",
        extra_template_basedirs=[str(TEMPLATES)],
        filters={"markdown2html": _markdown()},
    )
    return BeautifulSoup(exporter.from_notebook_node(notebook)[0], "html.parser")


def _tidy(soup, site, linked):
    """Makes a notebook's HTML fit for its page, in place. Returns its contents, [(level, id, text), ...].

    linked: the pages that there are; a link to another becomes its text."""
    for foreign in soup.select("script, style[scoped], iframe, object, embed, link, img:not([src^='data:'])"):
        foreign.decompose()
    for heading in soup.select("h1")[1:]:
        heading.name = "h2"
    for link in soup.select("a[href]"):
        link["href"] = _target(link["href"], site)
        if re.sub(r"\.html(#.*)?$", "", link["href"]) in set(site.pages) - set(linked):
            link.unwrap()
    _fold(soup)
    _predict(soup)
    for number, figure in enumerate(soup.select("figure"), 1):
        _caption(soup, figure, number)
    for number, table in enumerate(soup.select("table"), 1):
        _head(table)
        _align(table)
        _cards(table)
        caption = table.caption.get_text() if table.caption else ""
        link = _download(soup, table, f"table-{number}.csv")
        _scroll(soup, table, f"Table {number}{': ' * bool(caption)}{caption}")
        table.parent.insert_after(link)
        rows = len(table.select("tbody tr"))
        if rows > LONG:
            summary = soup.new_tag("summary", string=f"All {rows} rows")
            table.parent.wrap(soup.new_tag("details", attrs={"class": "rows"})).insert(0, summary)
    for place in soup.select("td, p > strong"):
        _mark_verdict(soup, place)
    for strong in soup.select("blockquote > p:first-child > strong:first-child"):
        strong.find_parent("blockquote")["class"] = "box"  # what opens in bold is no quotation
    for head in soup.select(".box > p > em:first-child"):
        if head.get_text() == f"{DETAIL}:":  # many numbers, for those who check them
            summary = soup.new_tag("summary", string=DETAIL)
            head.parent.wrap(soup.new_tag("details")).insert(0, summary)
            head.decompose()
    for wide in soup.select("pre, math[display=block]"):
        wide["tabindex"] = "0"  # what scrolls must be reachable with the keyboard
    _typeset(soup)
    _hold(soup)
    contents = _headings(soup)
    seen = {"main", "provenance"}
    for element in soup.select("[id]"):
        if element["id"] in seen:
            del element["id"]
        else:
            seen.add(element["id"])
    return contents


def typeset(text):
    """Text with the typographer's quotes, minus and times signs, and no line break between a number and its unit."""
    for pattern, sign in TYPOGRAPHY:
        text = pattern.sub(sign, text)
    return text


def _whole(text):
    """Text as HTML, typeset, its names whole."""
    from markupsafe import Markup, escape

    return Markup(NAMED.sub(r'<span class="whole">\1</span>', str(escape(typeset(text)))))  # noqa: S704


def _typeset(soup):
    """All text of a page but code and formulae, typeset in place."""
    from bs4 import NavigableString

    for text in soup.find_all(string=True):
        if type(text) is NavigableString and not text.find_parent(["code", "pre", "math", "style"]):  # no comment
            closing = text[:1] in ("'", '"') and text.previous_sibling is not None  # behind a word in italics, say
            shown = typeset(f"x{text}")[1:] if closing else typeset(text)
            if text.find_parent("svg"):
                text.replace_with(shown)
                continue
            parts = NAMED.split(shown)  # every second one is a name
            parts[1::2] = (soup.new_tag("span", attrs={"class": "whole"}, string=name) for name in parts[1::2])
            text.replace_with(*parts)


def _hold(soup):
    """A bracket before a formula, and the marks behind it, stay with it in a line."""
    for formula in soup.select("math:not([display=block])"):
        before, after = (str(text or "") for text in (formula.previous_sibling, formula.next_sibling))
        opening, closing = re.search(r"[(\[“]*$", before)[0], re.match(r"[)\].,;:”]*", after)[0]
        if opening or closing:
            if opening:
                formula.previous_sibling.replace_with(before.removesuffix(opening))
            if closing:
                formula.next_sibling.replace_with(after.removeprefix(closing))
            whole = formula.wrap(soup.new_tag("span", attrs={"class": "whole"}))
            whole.insert(0, opening)
            whole.append(closing)


def _fold(soup):
    """Cells of code that follow each other, without an output between them, fold into one."""
    for code in soup.select("details.code + details.code"):
        code.summary.decompose()
        code.find_previous_sibling("details").extend(list(code.contents))
        code.decompose()


def _predict(soup):
    """A line that asks for a prediction stands out as a paragraph of its own."""
    for strong in soup.select("p > strong"):
        if strong.get_text().startswith("Predict before you"):
            paragraph, line = strong.parent, [strong, *strong.next_siblings]
            paragraph.insert_after(soup.new_tag("p", attrs={"class": "predict"}))
            paragraph.find_next_sibling("p").extend(line)
            if not paragraph.get_text(strip=True):
                paragraph.decompose()


def _mark_verdict(soup, place):
    """Gives colour and shape to the verdict that a table's cell holds, or that a claim's bold head ends with."""
    head, _, word = place.get_text().rpartition(": ") if place.name == "strong" else ("", "", place.get_text())
    word, dot = word.removesuffix("."), "." * word.endswith(".")
    if word in VERDICTS and bool(head) == (place.name == "strong"):
        place.clear()
        place.extend([head, head and (" " if head.endswith("?") else ": "), _badge(soup, word), dot])


def _badge(soup, word):
    """A verdict as word, colour and shape."""
    _, kind, shape = VERDICTS[word]
    badge = soup.new_tag("span", attrs={"class": f"verdict {kind}"})
    badge.append(soup.new_tag("span", attrs={"aria-hidden": "true"}, string=shape))
    badge.append(f" {word}")
    return badge


def _target(href, site):
    """Where a link of a notebook leads to in the site: other pages are pages, other files stay where they are."""
    path, _, fragment = href.partition("#")
    if not path or re.match(r"[a-z]+:", path):
        return href
    page = path.removesuffix(".ipynb").removesuffix(".md")
    path = f"{page}.html" if page in (*site.pages, *site.texts) else os.path.relpath(site.notebooks / path, site.folder)
    return f"{path}#{fragment}" if fragment else path


def _headings(soup):
    """Gives every heading an id and a link to itself; returns those for the contents."""
    contents, taken = [], {"main", "provenance"}
    for heading in soup.select("h1, h2, h3, h4"):
        text = heading.get_text()
        stem = name = re.sub(r"\W+", "-", text.lower()).strip("-") or "section"
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}-{count}"
        taken.add(name)
        for element in soup.select(f'[id="{name}"]'):  # of an output, say: the heading has the better right to it
            del element["id"]
        heading["id"] = name
        anchor = soup.new_tag("a", href=f"#{name}", attrs={"class": "anchor", "aria-label": f"Link to {text}"})
        anchor.string = "#"
        heading.append(anchor)
        if heading.name in ("h2", "h3"):
            contents.append((int(heading.name[1]), name, text))
    return contents


def _caption(soup, figure, number):
    """Numbers a figure; its caption is the head of its alternative text, and what was found, if it says so."""
    alt, finding = figure.attrs.pop("data-alt", ""), figure.attrs.pop("data-finding", "")
    caption = soup.new_tag("figcaption")
    caption.append(soup.new_tag("strong", string=f"Figure {number}."))
    head = re.split(r"[.:;](?:\s|$)", alt)[0] + "." if alt else ""
    caption.extend(f" {sentence}" for sentence in (head, finding) if sentence)
    picture = figure.find(["svg", "img"])
    if picture.name == "svg":
        picture.attrs |= {"role": "img", "aria-label": alt}
        _scroll(soup, picture, f"Figure {number}")
    figure.append(caption)


def _scroll(soup, element, name):
    """Puts an element into a box that scrolls sideways where it is too wide for the page."""
    element.wrap(soup.new_tag("div", attrs={"class": "scroll", "role": "region", "aria-label": name, "tabindex": "0"}))


def _head(table):
    """The names of a table's index, which pandas writes in a row of their own, move up beside those of its columns."""
    rows = table.select("thead tr")
    pairs = [*zip(*(row.find_all(["th", "td"]) for row in rows), strict=False)] if len(rows) == 2 else []
    texts = [[cell.get_text().strip() for cell in pair] for pair in pairs]
    if texts and not any(all(pair) for pair in texts):
        for (cell, _), pair in zip(pairs, texts, strict=True):
            cell.string = "".join(pair)
        rows[1].decompose()


def _align(table):
    """Columns of numbers to the right; scopes for screen readers."""
    del table["border"]
    rows = [(row.find_all(["th", "td"]), row.find("td") is not None) for row in table.select("tr")]
    for cells, body in rows:
        for cell in cells:
            if not cell.get_text().strip():
                cell.name = "td"  # heads nothing
            elif cell.name == "th":
                cell["scope"] = "row" if body else "col"
    for row in table.select("tr[style]"):
        del row["style"]
    for k in range(1, 1 + min((len(cells) for cells, is_body in rows if is_body), default=0)):
        column = [(cells[-k], is_body) for cells, is_body in rows if len(cells) >= k]  # the first may span rows
        if all(NUMBER.fullmatch(cell.get_text().strip()) for cell, is_body in column if is_body):
            for cell, _ in column:
                cell["class"] = [*cell.get("class", []), "number"]


def _cards(table):
    """Where a table holds long texts, its cells say their columns: on a phone its rows become cards.

    The roles say what the elements are already, because browsers forget it of a card."""
    if max((len(cell.get_text()) for cell in table.select("td")), default=0) <= PROSE:
        return
    table.attrs |= {"class": [*table.get("class", []), "prose", "cards"], "role": "table"}
    heads = [cell.get_text() for cell in table.select("thead tr:last-child > *")]
    for part in table.select("thead, tbody"):
        part["role"] = "rowgroup"
    for row in table.select("tr"):
        row["role"] = "row"
        for name, cell in zip(heads, row.find_all(["th", "td"]), strict=False):
            cell["role"] = {"row": "rowheader", "col": "columnheader"}.get(cell.get("scope"), "cell")
            if cell.name == "td":
                cell["data-label"] = typeset(name)


def _download(soup, table, name):
    """A link that holds the table itself, as CSV."""
    text = io.StringIO()
    rows = ([" ".join(cell.get_text().split()) for cell in row.find_all(["th", "td"])] for row in table.select("tr"))
    csv.writer(text).writerows(rows)
    href = f"data:text/csv;charset=utf-8,{quote(text.getvalue())}"
    link = soup.new_tag("a", href=href, download=name, attrs={"class": "download"})
    link.string = f"Save as {name}"
    return link


# --- the front page ---


def _number(text):
    """A number as `Finding.shown` gives it, typeset: the value, and below it, small, its interval and seeds."""
    from markupsafe import Markup

    value, *rest = re.fullmatch(r"(.*?)(?: (\[[^]]*\]))?(?:, (\d+ seeds?(?: so far)?))?", text, re.DOTALL).groups("")
    small = ", ".join(filter(None, rest))
    shown = Markup("<b>{}</b>").format(typeset(value))
    return shown + Markup(" <small>{}</small>").format(typeset(small)) if small else shown


def _outline(path, page):
    """A notebook's question and its first sentence about it, as plain text."""
    from bs4 import BeautifulSoup

    with _rendering(page):
        cells = json.loads(path.read_bytes())["cells"]
        source = next(("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"), "")
    soup = BeautifulSoup(_markdown()(source), "html.parser")
    _typeset(soup)
    text = " ".join(soup.p.get_text().split()) if soup.p else ""
    return soup.h1.get_text() if soup.h1 else label(path.stem), re.split(r"(?<=[.?!])\s+(?=[A-Z“])", text)[0]


def _story(path):
    """The figures of the cells tagged "story" in an executed notebook, as HTML, and the first alone, as SVG; "" where
    there are none."""
    import nbformat

    notebook = nbformat.read(path, 4)
    notebook.cells = [cell for cell in notebook.cells if "story" in cell.metadata.get("tags", ())]
    soup = _body(notebook)
    for number, figure in enumerate(soup.select("figure"), 1):
        _caption(soup, figure, number)
    _typeset(soup)
    outputs = [output.get("data", {}) for cell in notebook.cells for output in cell.outputs]
    drawing = next((data["image/svg+xml"] for data in outputs if "image/svg+xml" in data), "")
    return "".join(map(str, soup.select("figure"))), drawing
