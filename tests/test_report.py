"""lib.report and lib.site, on notebooks made up here: none of them imports Keras or trains anything."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell as code
from nbformat.v4 import new_markdown_cell as text
from nbformat.v4 import new_notebook, new_output

from lib import claims, commands, experiments, report, runs, site, train
from lib.records import sealed

PARAMETERS = 'profile = "quick"\nseed = 0\nseeds = 1'
PAGES = {"01_first": (), "02_second": ("C7",)}


def write(path, *cells, **metadata):
    """A notebook with these cells, after a title and a cell of parameters."""
    parameters = code(PARAMETERS, metadata={"tags": ["parameters"]})
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(
        new_notebook(cells=[text("# A question?\n\nA promise. More."), parameters, *cells], metadata=metadata), path
    )


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A place to make reports in: desk.main(*arguments) is the command line, desk.online whether the data are real."""
    desk = SimpleNamespace(path=tmp_path, online=True)
    folders = {name: tmp_path / name for name in ("notebooks", "executed", "site", "store", "results")}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        report.data,
        "load",
        lambda name, standin=False: SimpleNamespace(
            name=name, standin=standin or not desk.online, identity=f"{name} {standin or not desk.online}"
        ),
    )
    for page in PAGES:
        write(folders["notebooks"] / f"{page}.ipynb")

    def job(*argv, **changes):
        return report.prepare(report.arguments(argv, PAGES), folders | {"pages": PAGES} | changes)

    desk.job = job
    desk.main = lambda *argv, **changes: report.main(argv, **folders | {"pages": PAGES} | changes)
    desk.write = lambda page, *cells: write(folders["notebooks"] / f"{page}.ipynb", *cells)
    desk.soup = lambda page: BeautifulSoup((tmp_path / "site" / f"{page}.html").read_text(), "html.parser")
    return desk


def record(folder, key="0" * 16, **fields):
    """A record in a store, of a training run if not said otherwise."""
    machine = {"device": "cpu", "cpu": "a processor", "threads": 2, "precision": "float32", "seconds": 60}
    machine |= {"commit": "abc", "date": "2026-01-01"}
    made = {"key": key, "kind": "train", "train_version": 0, "data": {"standin": False}, "machine": machine} | fields
    (folder / key).mkdir(parents=True)
    (folder / key / "record.json").write_text(json.dumps(sealed(made)))


def trained(experiment, seed):
    """What a record holds by which `experiments.select` finds it."""
    return {"experiment": asdict(experiment), "seed": seed, "train_version": train.TRAIN_VERSION}


# --- the command ---


def test_pages_are_executed_rendered_and_left_alone_while_nothing_changes(desk, capfd, monkeypatch):
    (desk.path / "data").mkdir()
    monkeypatch.setenv("DATA_DIR", "data")
    environment = dict(os.environ)
    lines = "import os\nfrom ipykernel.connect import get_connection_info\nfrom lib import stats\n"
    lines += "print(profile, seed, seeds, os.environ)\n"
    lines += "print('encrypted:', 'curve_publickey' in get_connection_info(unpack=True))"
    desk.write("01_first", code(lines))
    noisy = "import sys\nfrom lib.commands import say\nprint('a warning', file=sys.stderr)\nsay('epoch 1')"
    desk.write("02_second", code(noisy))
    assert desk.main("--profile", "smoke", "--seed", "3") == 0
    printed = desk.soup("01_first").main.find_all("pre")[-1].get_text()
    assert printed.startswith("smoke 3 1 ")
    assert "'RECNET_STANDIN': '1'" in printed
    assert "encrypted: True" in printed
    assert f"'DATA_DIR': '{desk.path / 'data'}'" in printed, "a kernel runs in another folder"
    assert environment == dict(os.environ)
    foot = {what.get_text(): what.find_next_sibling().get_text() for what in desk.soup("01_first").select("footer dt")}
    assert foot["Parameters"] == "profile smoke, seed 3, seeds 1"
    assert foot["Commit"] == report.machine.commit()
    assert foot["Software"].split(", ") == report.versions()
    assert re.fullmatch(r"[\d-]{10}, in \d+ s, on .+, \d+ cores?", foot["Executed"])
    out, err = capfd.readouterr()
    assert re.search(r"^2 of 2 pages to make, .*: about \d+ minute", out, re.MULTILINE)
    assert re.search(r"^\[1 of 2\] 01_first \.\.\. \d+ s$", out, re.MULTILINE)
    assert re.search(r"^site/index.html is ready, after [\d.]+ (s|minutes)$", out, re.MULTILINE)
    assert "These are stand-in data; profile smoke takes no others" in out.splitlines()[-1]
    assert err == "  epoch 1\n", "what is said to the user, and no warning of a kernel's"

    files = {path: path.stat().st_mtime_ns for path in desk.path.rglob("*.*")}
    assert desk.main("--profile", "smoke", "--seed", "3") == 0
    assert {path: path.stat().st_mtime_ns for path in desk.path.rglob("*.*")} == files
    assert capfd.readouterr().out.count("unchanged") == 4  # each page in its turn, and in the end


def test_a_failed_cell_is_told_in_one_line_and_earlier_pages_stay(desk, capfd):
    desk.write("02_second", code("x = 1"), code("\ny = x / 0  # why\nz = y"))
    assert desk.main() == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("02_second failed in cell 4 (y = x / 0  # why): ZeroDivisionError: division by zero [")
    log = re.search(r"executed so far: (.*)\]$", line).group(1)
    assert "ZeroDivisionError" in (desk.path / log).read_text()
    assert desk.soup("01_first").h1
    assert not (desk.path / "site" / "02_second.html").exists()
    assert desk.soup("index").find("span", string="2 Second"), "what is not there is named, not linked"

    desk.write("02_second", code("x = 1"))
    assert desk.main() == 0
    assert not (desk.path / log).exists()
    assert desk.soup("index").find("a", string="2 Second")


INTERRUPTED = """
import pathlib, signal, sys
from lib import report
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests inherited
folders = {name: pathlib.Path.cwd() / name for name in ("notebooks", "executed", "site", "store", "results")}
sys.exit(report.main(["--profile", "smoke"], pages={"01_first": ()}, **folders))
"""


def test_interruption_exits_with_130(desk):
    desk.write("01_first", code("import os, signal, time\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(600)"))
    environment = os.environ | {"PYTHONPATH": str(report.runs.ROOT)}
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("interrupted: ")
    assert "Traceback" not in done.stderr
    assert not list(desk.path.glob("executed/*.ipynb"))


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["--profile", "huge"], "quick"),
        (["--nb", "12"], "01_first, 02_second"),
        (["--nb", ""], "01_first, 02_second"),
        (["--seeds", "0"], "at least 1"),
        (["--seed", "-1"], "from 0 to"),
        (["--seed", str(2**32 - 1), "--seeds", "2"], "from 0 to"),
        (["--seeds", "two"], "invalid int"),
        (["--publish", "--profile", "quick"], "leave --profile out"),
        (["--publish", "--seeds", "2"], "leave --seed and --seeds out"),
        (["--fast"], "unrecognized"),
    ],
)
def test_bad_arguments_exit_with_2_and_say_what_would_be_right(desk, capsys, argv, word):
    with pytest.raises(SystemExit) as stopped:
        desk.main(*argv)
    assert stopped.value.code == 2
    assert word in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("name", ["2", "02", "02_second"])
def test_one_notebook_alone(desk, name):
    assert report.arguments(["--nb", name], PAGES).selected == ["02_second"]


def test_full_scale_pages_need_the_real_data(desk, capsys):
    desk.online = False
    assert desk.main("--publish") == 1
    assert capsys.readouterr().err.splitlines() == [f"profile paper takes the real data only: {report.data.HOW_TO_GET}"]


def test_real_and_drawn_images_are_not_mixed(desk, monkeypatch):
    def load(name, standin=False):
        drawn = standin or name == "cifar10"
        return SimpleNamespace(name=name, standin=drawn, identity=f"{name} {drawn}")

    monkeypatch.setattr(report.data, "load", load)
    assert desk.job().identities == {"mnist": "mnist True", "cifar10": "cifar10 True"}


def test_publishing_trains_nothing(desk):
    desk.write("01_first", code("import os\nassert os.environ['RECNET_READ_ONLY'] == '1' and profile == 'paper'"))
    assert desk.main("--publish", "--nb", "01") == 0
    assert not desk.soup("01_first").select(".banner, .note")


def test_publishing_knows_which_claims_have_small_runs_alone(desk):
    quick, full = (experiments.wanted(["C2"], profile) for profile in ("quick", "paper"))
    pages = {"01_first": ("C2", "C9"), "02_second": ()}
    for e, seed in quick:
        record(desk.path / "store", e.key(seed, "x"), **trained(e, seed))
    job = desk.job("--publish", pages=pages)
    assert job.small("01_first") == ["C2"]
    assert job.small("02_second") == []
    assert {r["key"] for r in job.records()} == {e.key(seed, "x") for e, seed in quick}
    for e, seed in full:
        assert job.small("01_first") == ["C2"]
        record(desk.path / "results", e.key(seed, "x"), **trained(e, seed))
        if seed == 0 and e is not full[0][0]:  # now each arm has a seed
            break
    assert job.small("01_first") == []
    assert desk.job("--profile", "quick", pages=pages).small("01_first") == []


def test_the_published_site_shows_what_is_recorded():
    """By content: the hash that a page carries is that of its notebook and of the records it reads, as they are now."""
    identities = {name: spec.identity for name, spec in report.data.SPECS.items()}
    folders = {"executed": runs.BUILD, "site": runs.ROOT / "report"}
    job = report.Job("paper", 0, 1, identities, False, runs.QUICK, publish=True, **folders)
    stale = [
        page
        for page in job.pages
        if f'data-shows="{job.shows(page, job.source(page))}"' not in (job.site / f"{page}.html").read_text()
    ]
    index = f'data-shows="{report.front(job, job.records())["shows"]}"' in (job.site / "index.html").read_text()
    assert not stale, "run `make publish`"
    assert index, "run `make publish`"


@pytest.mark.parametrize("error", [report.data.DataError("x is cut off"), OSError(28, "No space left", "/x")])
def test_what_goes_wrong_outside_of_a_notebook_is_one_line_too(desk, capsys, monkeypatch, error):
    def load(name, standin):
        raise error

    monkeypatch.setattr(report.data, "load", load)
    assert desk.main() == 1
    assert capsys.readouterr().err in ("x is cut off\n", "/x: No space left\n")


# --- when a page must be made again ---


def test_key_changes_with_all_that_a_page_depends_on(desk, monkeypatch):
    library = desk.path / "lib"
    (library / "templates").mkdir(parents=True)
    (library / "module.py").write_text("x = 1")
    run = next(iter(report.experiments.wanted(["C7"], "quick")))
    run = run[0].key(run[1], "cifar10 False")

    def keys(*argv):
        job = desk.job(*argv, library=library)
        return [job.key(page, job.source(page)) for page in PAGES]

    seen = [keys()]
    assert keys() == seen[0]

    def changed(*pages):
        seen.append(keys())
        return [a != b for a, b in zip(*seen[-2:], strict=True)]

    desk.write("01_first", text("changed"))
    assert changed() == [True, False]
    (library / "module.py").write_text("x = 2")
    assert changed() == [True, True]
    (library / "templates" / "page.html.j2").write_text("changed")
    assert changed() == [True, True]
    record(desk.path / "store", key=run)
    assert changed() == [True, True], "a record of its claim"
    record(desk.path / "store", key="f" * 16)
    assert changed() == [True, False], "a record of another claim; the first page reads all"
    record(desk.path / "results", key="e" * 16)
    assert changed() == [True, False]
    (desk.path / "results" / "bench.json").write_text("[]")
    assert changed() == [True, False]
    desk.online = False
    assert changed() == [True, True], "other data"
    monkeypatch.setattr(report, "VERSIONS", ("numpy",))
    assert changed() == [True, True], "other libraries"
    for argv in (["--seeds", "2"], ["--seed", "1"], ["--profile", "smoke"]):
        assert all(a != b for a, b in zip(keys(*argv), seen[-1], strict=True))


def test_a_damaged_executed_notebook_counts_as_none(tmp_path):
    path = tmp_path / "x.ipynb"
    assert site.made(path) == {}
    for content in (b"", b"{", b"[]", b'{"metadata": {}}', b"\xff"):
        path.write_bytes(content)
        assert site.made(path) == {}


def test_a_damaged_page_is_rendered_again(pages, tmp_path):
    cells = text("It is 39.05 %."), *EVERYTHING[1:]
    pages(*cells)
    path = tmp_path / "out" / "01_first.html"
    html = path.read_bytes()
    for damaged in (html.replace(b"39.05", b"39.06"), html[:-20], b"", bytes([html[0] ^ 0x80]) + html[1:]):
        path.write_bytes(damaged)
        assert "It is 39.05" in pages(*cells).get_text()
        assert path.read_bytes().endswith(html[-20:])
    before = path.stat().st_mtime_ns
    pages(*cells)
    assert path.stat().st_mtime_ns == before, "a whole page is left alone"


@pytest.mark.parametrize("content", [b"<<<<<<< ours", b"\xff\xfe", b"{}"], ids=["conflict", "binary", "empty"])
def test_a_source_that_is_no_notebook_is_one_line(desk, capsys, content):
    (desk.path / "notebooks" / "02_second.ipynb").write_bytes(content)
    assert desk.main("--nb", "02") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("02_second ")
    (desk.path / "notebooks" / "02_second.ipynb").unlink()
    (desk.path / "notebooks" / "glossary.md").write_bytes(b"\xff\xfe")
    write(desk.path / "notebooks" / "02_second.ipynb")
    with pytest.raises(site.SiteError, match=r"^glossary can't be rendered: UnicodeDecodeError"):
        report.render(desk.job())


def test_the_clock_decides_nothing(desk, capsys, monkeypatch):
    """Files of the future, as after a clock was set back, are as good as others: what counts is their content."""
    assert desk.main("--nb", "01") == 0
    for path in (path for folder in ("notebooks", "executed", "site") for path in (desk.path / folder).iterdir()):
        os.utime(path, (4e9, 4e9) if "notebooks" in path.parts else (0, 0))
    monkeypatch.setattr(report.time, "time", lambda: 0.0)
    capsys.readouterr()
    assert desk.main("--nb", "01") == 0
    assert "01_first ... unchanged" in capsys.readouterr().out
    assert {path.stat().st_mtime for path in (desk.path / "site").iterdir()} == {0}


# --- how long it will take, and how far it is ---


def test_the_outlook_counts_missing_runs_and_learns_from_earlier_ones(desk):
    wanted = report.experiments.wanted(["C7"], "quick")
    job = desk.job()
    assert f"2 of 2 pages to make, {len(wanted)} of {len(wanted)} runs to train: about " in report.outlook(job, PAGES)
    experiment, seed = wanted[0]
    described = {"architecture": "resnet", "options": {}, "dataset": "cifar10", "recipe": {"epochs": 2}}
    run = {"flops": 1e9, "n_train": 1000, "experiment": described}
    record(desk.path / "store", key=experiment.key(seed, "cifar10 False"), **run)
    record(desk.path / "store", **run | {"flops": 1e6, "n_train": 10})  # all of its minute is start-up
    assert f"{len(wanted) - 1} of {len(wanted)} runs" in report.outlook(job, PAGES)
    assert " 0 of 0 runs" in report.outlook(job, ["01_first"])


def test_terminal_shows_progress_and_no_noise(capsys):
    terminal = report.Terminal()
    terminal.start("[1 of 2] 01_first")
    terminal.write(f"I0000 note\n{commands.MARK}[1 of 5] recnet: ep")
    terminal.write(f"och 1\n{commands.MARK}run ab is being trained by another process; waiting for it\nmore")
    terminal.end("9 s")
    terminal.start("[2 of 2] 02_second")
    terminal.end("3 s")
    out, err = capsys.readouterr()
    assert err == "  [1 of 5] recnet: epoch 1\n  run ab is being trained by another process; waiting for it\n"
    assert out == "[1 of 2] 01_first ... \n[1 of 2] 01_first ... 9 s\n[2 of 2] 02_second ... 3 s\n"


# --- the pages ---

HOSTILE = '"><script>alert(1)</script><img src="https://example.org/x.png">'


def image(mime, data, alt):
    return new_output("display_data", {mime: data, "text/plain": "?"}, metadata={mime: {"alt": alt}})


def shown(output, source="x"):
    return code(source, execution_count=1, outputs=[output])


def markdown(source):
    return shown(new_output("display_data", {"text/markdown": source}))


@pytest.fixture
def pages(tmp_path):
    """pages(cell, ...) -> the soup of a page with these executed cells; pages.front() that of the front page."""

    def make(*cells, **how):
        how = {"shows": "c", "profile": "paper", "publish": False, "small": [], "standin": False} | how
        report = {"key": "k", "provenance": [("Machine", HOSTILE)]} | how
        for page in ("01_first", "02_recnet"):
            write(tmp_path / "notebooks" / f"{page}.ipynb")
            executed = tmp_path / "executed" / f"{page}.ipynb"
            write(executed, *cells, report=report)
            notebook = json.loads(executed.read_text())
            report["digest"] = notebook["metadata"]["report"]["digest"] = site.digest(notebook)
            executed.write_text(json.dumps(notebook))
        folders = site.Site(
            ("01_first", "02_recnet", "03_missing"), *(tmp_path / f for f in ("notebooks", "executed", "out"))
        )
        write(tmp_path / "notebooks" / "03_missing.ipynb")
        rows = claims.table([], []).to_dict("records")
        rows[0] |= {"claim": HOSTILE, "paper": HOSTILE, "recorded": HOSTILE, "verdict": "partly"}
        front = {
            "halves": claims.title([]),
            "interim": how.get("interim", []),
            "claims": [row | {"page": "01_first"} for row in rows],
        }
        index = site.build(folders, str(how), lambda: front | report)
        make.front = BeautifulSoup(index.read_text(), "html.parser")
        return BeautifulSoup((index.parent / "01_first.html").read_text(), "html.parser")

    return make


EVERYTHING = [
    text("## One & two\n\n## One & two\n\n### Deep\n\n| a | b |\n|---|---|\n| x | 1.5 |\n\n$x$ and <script>1</script>"),
    shown(new_output("stream", name="stdout", text=f"{HOSTILE}\n")),
    shown(new_output("stream", name="stderr", text="[1 of 2] noise\n")),
    shown(
        image(
            "image/svg+xml",
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><g id="g"/></svg>',
            "A line. It falls.",
        )
    ),
    shown(image("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"><g id="g"/></svg>', HOSTILE)),
    shown(image("image/png", "aGk=", "A <cat>: grey")),
    markdown(f"**{HOSTILE}** [x](javascript:alert)"),
    shown(new_output("execute_result", {"text/plain": HOSTILE}, execution_count=1), "1 < 2  # sum"),
    shown(
        new_output(
            "display_data", {"text/html": '<table border="1"><tr id="main"><td>9</td></tr></table><script>2</script>'}
        )
    ),
    shown(new_output("display_data", {"application/javascript": "alert(3)"})),
]


TABLE_OF_WORDS = """<table><thead><tr><th></th><th>a, b</th></tr></thead>
<tbody><tr><th>say "x"</th><td> ±1 % </td></tr></tbody></table>"""


def test_pages_run_no_script_and_ask_no_other_host(pages):
    for soup in (pages(*EVERYTHING), pages.front):
        assert not soup.select("script, link, iframe, object, embed, base, [onload], [onerror]")
        assert not soup.select("[src]:not([src^='data:'])")
        assert not re.search(r"@import|url\(", soup.style.get_text())
        assert not [
            a["href"]
            for a in soup.select("a[href]:not([download])")
            if re.match("[a-z]+:", a["href"]) and "example" not in a["href"]
        ]


def test_values_are_shown_as_they_are(pages):
    """Hostile text in outputs, Markdown, claims and provenance stays text."""
    for soup, count in ((pages(*EVERYTHING), 4), (pages.front, 3)):
        assert soup.get_text().count("<script>alert(1)</script>") >= count


def test_alternative_texts_survive(pages):
    figures = pages(*EVERYTHING).select("figure")
    assert [f.svg["aria-label"] for f in figures if f.svg] == ["A line. It falls.", HOSTILE]
    assert figures[0].svg["role"] == "img"
    assert figures[2].img["alt"] == "A <cat>: grey"
    assert [figures[i].figcaption.get_text() for i in (0, 2)] == ["Figure 1. A line.", "Figure 3. A <cat>."]


def test_progress_and_default_parameters_are_left_out(pages):
    soup = pages(*EVERYTHING)
    assert "noise" not in soup.get_text()
    assert "seeds" not in soup.main.get_text()


def test_code_is_folded_under_its_sentence(pages):
    folded = pages(text("Say."), code("1 < 2  # do")).main.find("p", string="Say.").find_next_sibling()
    assert (folded.name, folded.summary.get_text()) == ("details", "Show code")
    assert folded.pre.get_text().strip() == "1 < 2  # do"
    assert not folded.has_attr("open")


def test_a_published_page_says_which_claims_it_shows_by_small_runs(pages):
    assert not pages(publish=True).select(".note")
    (note,) = pages(key="k2", publish=True, profile="quick", small=["C3", "C4"]).select(".note")
    assert "Too few full-scale runs of C3, C4 are recorded yet" in note.get_text()
    heads = [th.get_text() for th in pages.front.select("table.claims thead th")]
    assert heads == ["Claim", "The paper", "Number", "Recorded", "Quick run", "Verdict"]
    pages(profile="quick")
    assert "This run" in [th.get_text() for th in pages.front.select("table.claims thead th")]


@pytest.mark.parametrize("standin", [True, False])
def test_a_banner_if_and_only_if_the_data_are_stand_ins(pages, standin):
    for soup in (pages(standin=standin), pages.front):
        assert len(soup.select(".banner")) == standin


@pytest.mark.parametrize("profile", ["smoke", "quick", "paper"])
def test_a_note_on_small_runs(pages, profile):
    for soup in (pages(profile=profile), pages.front):
        assert len(soup.select(".note")) == (profile != "paper")


def test_formulae_become_mathml(pages):
    main = pages(text("Inline $y = x^2$, a price of \\$5.\n\n$$\\sum_{k=1}^n k$$"), markdown("$D < 1$")).main
    inline, block, output = main.select("math")
    assert inline.get_text() == "y=x2"
    assert block["display"] == "block"
    assert block.find("mo", string="∑")
    assert output.get_text() == "D<1"
    assert main.get_text().count("$") == 1


def test_a_line_ends_neither_behind_a_bracket_before_a_formula_nor_before_the_mark_behind_it(pages):
    main = pages(text('A net ($n = 3$), "$x$", *all* ($y$ of them) and $z$.')).main
    assert [held.get_text() for held in main.select(".whole")] == ["(n=3),", "“x”,", "(y", "z."]
    assert "A net (n=3), “x”, all (y of them) and z." in main.get_text()


def test_a_formula_that_is_none_is_told_in_one_line(pages):
    with pytest.raises(site.SiteError, match=r"^01_first can't be rendered: .+$"):
        pages(text(r"$\left( x$"))


def test_structure_of_a_page(pages):
    soup = pages(
        *EVERYTHING,
        text("# Another\n\n[next](02_recnet.ipynb#a) [self](#a) [code](../lib/site.py) [web](https://example.org)"),
    )
    assert soup.html["lang"] == "en"
    assert [h.find(string=True) for h in soup.select("h1")] == ["A question?"]
    assert soup.title.get_text().startswith("A question? ·")
    ids = [element["id"] for element in soup.select("[id]")]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in soup.select("a[href^='#']")} - {"a", "harmful-link"} <= set(ids)
    assert [link["href"] for link in soup.select(".contents a")][:3] == ["#one-two", "#one-two-2", "#deep"]
    assert soup.body.find("a")["href"] == "#main"
    assert soup.select_one("header [aria-current=page]").get_text() == "1 First"
    assert [item.get_text() for item in soup.select("header li")] == ["Report", "1 First", "2 RecNet", "3 Missing"]
    assert not soup.select("a[href='03_missing.html']")
    assert [link["href"] for link in soup.select(".turn a")] == ["index.html", "02_recnet.html"]
    targets = [link["href"] for link in soup.main.select("p a") if not link.has_attr("class")]
    assert targets[-4:] == ["02_recnet.html#a", "#a", "../lib/site.py", "https://example.org"]


def test_tables_scroll_inside_themselves_and_align_numbers(pages):
    soup = pages(*EVERYTHING)
    for table in soup.select("table"):
        assert table.parent["class"] == ["scroll"]
        assert table.parent["tabindex"] == "0"
    assert soup.find("td", string="1.5")["class"] == ["number"]
    assert soup.find("th", string="b")["class"] == ["number"]
    assert soup.find("td", string="x").get("class") is None


def test_a_table_of_pandas_has_one_head_and_aligns_also_beside_cells_that_span_rows(pages):
    index = pd.MultiIndex.from_tuples([("a", "x"), ("b", "x"), ("b", "y")], names=["k", "l"])
    frame = pd.DataFrame({"runs": [1, 20, 3]}, index)
    (table,) = pages(shown(new_output("display_data", {"text/html": frame.to_html()}))).select("table")
    assert [cell.get_text() for cell in table.select("thead th")] == ["k", "l", "runs"]
    assert [cell["class"] for cell in table.select("td")] == [["number"]] * 3
    assert not any("number" in cell.get("class", []) for cell in table.select("tbody th"))


def test_a_table_of_texts_says_in_each_cell_what_it_is(pages):
    table = "| date | it's why |\n|---|---|\n| 2026-01-01 | {} |"
    short, long = pages(text(table.format("short")), text(table.format("long " * 20))).main.select("table")
    assert not short.attrs
    assert {"prose", "cards"} <= set(long["class"])
    assert [cell["data-label"] for cell in long.select("td")] == ["date", "it’s why"]
    assert [part["role"] for part in long.select("*") if part.has_attr("role")] == [
        *("rowgroup", "row", "columnheader", "columnheader"),
        *("rowgroup", "row", "cell", "cell"),
    ]


def test_a_long_table_is_folded_and_its_download_is_not(pages):
    main = pages(*(text("| a |\n|---|\n" + "| 1 |\n" * rows) for rows in (40, 41))).main
    (folded,) = main.select("details.rows")
    assert folded.summary.get_text() == "All 41 rows"
    assert folded.select_one(".scroll > table")
    assert [link["download"] for link in main.select("a[download]") if not link.find_parent("details")] == [
        "table-1.csv",
        "table-2.csv",
    ]


def test_the_details_of_a_claim_are_folded(pages):
    box = pages(text("> **C1: partly.** Plain.\n>\n> *The paper:* says.\n>\n> *In detail:* more.")).main.blockquote
    assert (box.details.summary.get_text(), box.details.p.get_text().strip()) == ("In detail", "more.")
    assert "The paper: says." in box.get_text()
    assert not box.details.has_attr("open")


def test_a_formula_may_be_broken_at_its_wide_gaps(pages):
    main = pages(text(r"$$a, \qquad\qquad b.$$"), text(r"$$\left(a \qquad b\right)$$")).main
    assert len(main.select("math[display=block]")) == 3


def test_text_is_typeset_and_code_is_not(pages):
    says = text('It\'s "3x3", -1 to 54 % [-0.30, +3.55], 1 seed; *so* "is" `"-1"`, $-1$ and ResNet-20.')
    paragraph = pages(says).main.select("p")[-1]
    assert [name.get_text() for name in paragraph.select(".whole")] == ["ResNet-20"]
    shown = paragraph.get_text()
    assert shown == 'It’s “3×3”, −1 to 54\xa0% [−0.30,\xa0+3.55], 1\xa0seed; so “is” "-1", −1 and ResNet-20.'


def test_a_question_to_the_reader_and_a_box_stand_out(pages):
    main = pages(
        text("Said first. **Predict before you look:** which *way*?"),
        text("**Predict before you look:** why?\n\n> **A box.** In it.\n\n> A quotation."),
        code("1"),
        code("2"),
    ).main
    assert [p.get_text() for p in main.select(".predict")] == [
        "Predict before you look: which way?",
        "Predict before you look: why?",
    ]
    assert main.select_one(".predict").find_previous_sibling().get_text().strip() == "Said first."
    assert all(p.get_text(strip=True) for p in main.select("p"))
    assert [quote.get("class") for quote in main.select("blockquote")] == [["box"], None]
    assert [len(folded.select("pre")) for folded in main.select("details")] == [2]


def test_a_caption_says_what_the_picture_found(pages):
    cell = shown(image("image/svg+xml", '<svg xmlns="http://www.w3.org/2000/svg"/>', "A line. Long text."))
    cell.outputs[0].metadata["image/svg+xml"]["finding"] = 'Lowest: "a" < b.'
    assert pages(cell).figcaption.get_text() == "Figure 1. A line. Lowest: “a” < b."


@pytest.mark.parametrize(
    ("text", "value", "small"),
    [
        ("+1.60 pp [-0.30, +3.55], 1 seed", "+1.60\xa0pp", "[−0.30,\xa0+3.55], 1\xa0seed"),
        ("4.6 x", "4.6 ×", None),
        ("0.68 [0.51, 0.85]", "0.68", "[0.51,\xa00.85]"),
        ("-", "–", None),
        ("60,000 images", "60,000 images", None),
    ],
)
def test_numbers_of_the_front_page(text, value, small):
    soup = BeautifulSoup(site._number(text), "html.parser")
    assert (soup.b.get_text(), soup.small and soup.small.get_text()) == (value, small)


def test_a_table_is_its_own_download(pages):
    soup = pages(shown(new_output("display_data", {"text/html": TABLE_OF_WORDS})))
    kind, _, text = soup.select_one("a[download]")["href"].partition(",")
    assert kind == "data:text/csv;charset=utf-8"
    assert list(csv.reader(io.StringIO(unquote(text)))) == [["", "a, b"], ['say "x"', "±1 %"]]


def test_a_verdict_has_colour_and_shape_where_it_is_one(pages):
    table = "<table><tr><th>C7</th><td>contradicted</td><td>as reproduced</td></tr></table>"
    says = text("**C7, It fails: not reproduced.** It was reproduced, **reproduced** in bold.")
    soup = pages(shown(new_output("display_data", {"text/html": table})), says)
    badges = soup.select("span.verdict")
    assert [(badge["class"][1], badge.get_text()) for badge in badges] == [
        ("bad", "✘ contradicted"),
        ("bad", "■ not reproduced"),
    ]
    assert all(badge.span["aria-hidden"] == "true" for badge in badges)
    assert "✘" not in unquote(soup.select_one("a[download]")["href"])


def test_a_link_to_a_page_that_is_not_there_is_text(pages):
    page = pages(
        nbformat.v4.new_markdown_cell("[next](02_recnet.ipynb#a), [later](03_missing.ipynb), [out](https://x.org)")
    )
    assert [link["href"] for link in page.select("main p a")] == ["02_recnet.html#a", "https://x.org"]
    assert "next, later, out" in page.main.get_text()


def test_front_page(pages):
    pages(code("x"), profile="quick")
    front = pages.front
    assert [h.get_text() for h in front.select("h1")] == [
        "Recurrent Networks in Residual Networks: a reproduction report"
    ]
    assert [half.get_text() for half in front.select(".halves strong")] == ["[?]", "[?]"]
    assert [said.get_text()[-19:] for said in front.select(".half + p")] == ["is not decided yet."] * 2
    heads = [cell.get_text() for cell in front.select("thead th")]
    assert heads == ["Claim", "The paper", "Number", "Recorded", "This run", "Verdict"]
    assert "ResNet-18" in [name.get_text() for name in front.select(".claims .whole")]
    verdicts = [cell.get_text() for cell in front.select("tbody .verdict")]
    assert verdicts[:2] == ["◐ partly", "– not run"], "a shape and a word"
    order = [item.get_text(" ", strip=True) for item in front.select(".order li")]
    assert order == ["A question? A promise."] * 3
    assert [bool(item.a) for item in front.select(".order li")] == [True, True, False]
    assert "at equal depth: " in front.select_one(".halves").get_text()
    pages(code("x"), key="k2", interim=["Tied minus untied: +2.00 pp", "Another: -1.00 pp"])
    said = [item.get_text() for item in pages.front.select(".halves > div:nth-of-type(2) li")]
    assert said == ["Tied minus untied: +2.00\xa0pp.", "Another: −1.00\xa0pp."]


def test_front_page_shows_the_figure_tagged_as_the_story(pages, tmp_path):
    figure = EVERYTHING[3].copy()
    pages(figure)
    assert not pages.front.figure
    figure["metadata"] = {"tags": ["story"]}
    pages(figure, key="other")
    assert pages.front.figure.svg["aria-label"] == "A line. It falls."
    assert (tmp_path / "out" / "story.svg").read_text() == figure.outputs[0].data["image/svg+xml"]


def test_a_markdown_file_beside_the_notebooks_is_a_page(pages, tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "the_words.md").write_text(f"# What?\n\n## Nets\n\n**n**: $n$ {HOSTILE}\n")
    links = [link["href"] for link in pages(text("[n](the_words.md#nets)")).main.select("p a")]
    assert links == ["the_words.html#nets"]
    soup = BeautifulSoup((tmp_path / "out" / "the_words.html").read_text(), "html.parser")
    assert soup.title.get_text() == "What? · RecNet report"
    assert soup.select_one("[aria-current]").get_text() == "The words"
    assert [link["href"] for link in soup.select(".contents .wide a")] == ["#nets"]
    assert soup.main.math
    assert not soup.select("script, img, .banner, .note, footer")


def test_page_names():
    assert [site.label(page) for page in ("01_data", "04_recnet_paper")] == ["1 Data", "4 RecNet paper"]
