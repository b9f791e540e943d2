"""The report: notebooks executed where anything that they depend on changed, then rendered by lib.site.

    python -m lib.report [--profile quick] [--seeds 1] [--seed 0] [--nb 04]    into build/report/
    python -m lib.report --publish                                             from results/ alone into report/

Exit codes: 0 done; 1 a notebook or run failed (one line: which, where, why, the log); 2 bad arguments; 130 interrupted.
Every notebook runs in a kernel of its own; this process imports neither Keras nor TensorFlow.
"""

import argparse
import hashlib
import json
import os
import platform
import signal
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path

from lib import commands, data, experiments, forecast, machine, runs, site, train
from lib.prose import counted
from lib.records import StoreError, hashed, write

VERSIONS = ("tensorflow", "keras", "numpy", "pandas", "matplotlib", "papermill", "nbconvert")

PAGE, RUN = 12, 4  # seconds, for the outlook: what a page and a run take beside training


class Failed(RuntimeError):
    """A notebook that did not run to its end; the message is one line."""


@dataclass(frozen=True)
class Job:
    """What to execute, from where, whereto and with which parameters."""

    profile: str
    seed: int
    seeds: int
    identities: dict  # of the data sets, by name
    standin: bool
    store: Path  # of the records that the notebooks read and add to
    executed: Path  # folder of the executed notebooks
    site: Path  # folder of the HTML files
    publish: bool = False  # train nothing
    notebooks: Path = runs.ROOT / "notebooks"
    library: Path = runs.ROOT / "lib"
    results: Path = runs.RESULTS  # the recorded runs, which every page may show beside its own
    pages: dict = field(default_factory=lambda: experiments.PAGES)  # {page: claims whose runs it asks for}

    @cached_property
    def code(self):
        """Hash of the library and its templates, as they are when first asked for."""
        digest = hashlib.sha256()
        for path in sorted(self.library.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.read_bytes())
        return digest.hexdigest()

    @property
    def beside(self):
        """The profile of the runs in `store`: those that a page shows where full-scale ones are not recorded."""
        return "quick" if self.publish else self.profile

    @property
    def parameters(self):
        return {"profile": self.profile, "seed": self.seed, "seeds": self.seeds}

    def records(self, page=None):
        """The records that a page reads: those of its claims, this profile's and the recorded ones; all of them for a
        page that names no claim, and without a page."""
        claims, found = self.pages.get(page, ()), {}
        official = {name: spec.identity for name, spec in data.SPECS.items()}
        for store, profile, identities in (
            (self.results, "paper", official),
            (self.store, self.beside, self.identities),
        ):
            keys = {
                e.key(s, identities[e.dataset]) for e, s in experiments.wanted(claims, profile, self.seed, self.seeds)
            }
            checks = {name for claim in claims for name in experiments.CHECKS.get(claim, ())}
            for record in runs.read(store):
                if not claims or record["key"] in keys or record.get("name") in checks:
                    found[record["key"]] = record
        return [found[key] for key in sorted(found)]

    def small(self, page):
        """The claims of a page of the published site that it shows by quick runs, because too few of their full-scale
        ones are there."""
        if not self.publish:
            return []
        stores = ("paper", runs.read(self.results)), ("quick", runs.read(self.store))
        shown = {c: experiments.fullest(stores, c) for c in self.pages[page] if c in experiments.DESIGNS}
        return [claim for claim, (profile, table) in shown.items() if profile != "paper" and len(table)]

    def source(self, page):
        try:
            return (self.notebooks / f"{page}.ipynb").read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Failed(f"{page} is no notebook: the file is not of text") from None

    def shows(self, page, source):
        """A hash of what a page of this source tells of: itself, the records it reads, the benchmarks."""
        bench = self.results / "bench.json"
        figures = bench.read_text(errors="replace") if bench.exists() and not self.pages[page] else None
        return _hash(source, self.records(page), figures)

    def key(self, page, source):
        """A hash of all that decides what a page of this source shows, the libraries that draw it among them."""
        shows = self.shows(page, source)
        return _hash(self.code, versions(), shows, self.parameters, self.identities, self.publish)

    def done(self, page):
        """Whether the page was executed and nothing that decides it has changed since."""
        return site.made(self.executed / f"{page}.ipynb").get("key") == self.key(page, self.source(page))


def _hash(*parts):
    return hashed(parts)[:16]


# --- executing ---


class Terminal:
    """One line a page on stdout and, while a page is under way, its kernel's lines of progress on stderr."""

    def __init__(self):
        self.label, self.whole, self.rest = "", True, ""

    def start(self, label):
        self.label, self.whole = label, False
        print(f"{label} ...", end=" ", flush=True)

    def end(self, text):
        print(f"{self.label} ... {text}" if self.whole else text, flush=True)
        self.whole = True

    def write(self, text):
        """Takes what a kernel writes on stderr, as it comes; all but what `commands.say` said (TensorFlow's notes,
        warnings) is left to the executed notebook."""
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            _, said, line = line.partition(commands.MARK)
            if said:
                self.break_line()
                print(f"  {line}", file=sys.stderr, flush=True)

    def flush(self):
        """Nothing is held back but lines that are not complete."""

    def break_line(self):
        if not self.whole:
            print(flush=True)
        self.whole = True


def execute(job, page, terminal):
    """Executes a page's notebook into `job.executed`, whole or not at all; returns the seconds it took.

    Raises Failed where a cell fails; what was executed until then stays beside, as `<page>.failed.ipynb`.
    """
    import nbformat
    import papermill

    from lib import kernels

    job.executed.mkdir(parents=True, exist_ok=True)
    part, failed = (job.executed / f"{page}.{state}.ipynb" for state in ("part", "failed"))
    failed.unlink(missing_ok=True)
    start, source, variables = time.monotonic(), job.source(page), environment(job)
    key, shows = job.key(page, source), job.shows(page, source)
    log = (job.executed / f"{page}.log").open("wb")
    try:
        notebook = papermill.execute_notebook(
            nbformat.reads(source, 4),
            part,
            job.parameters,
            kernel_name="python3",
            language="python",
            cwd=job.notebooks,
            progress_bar=False,
            stderr_file=terminal,
            iopub_timeout=60,  # a stall of the default 4 s, as a busy machine has them, would end the run
            coalesce_streams=True,
            shutdown_kernel="immediate",  # there is nothing to save, and a kernel asked politely may print an error
            kernel_manager_class=kernels.manager(variables, log),
        )
    except Exception as error:  # a failed cell, a dead kernel, a full disk, whatever there is
        if part.exists():
            part.replace(failed)
        raise Failed(_failure(page, failed, error)) from None
    finally:
        log.close()
        part.unlink(missing_ok=True)
    seconds = time.monotonic() - start
    if not job.publish:  # now that its own runs are there; a site that trains nothing shows what was there before
        key, shows = job.key(page, source), job.shows(page, source)
    notebook.metadata["report"] = {
        "key": key,
        "shows": shows,
        "profile": job.beside,
        "publish": job.publish,
        "small": job.small(page),
        "standin": job.standin,
        "seconds": seconds,
        "provenance": [
            *provenance(job, job.records(page)),
            ("Executed", f"{datetime.now():%Y-%m-%d}, in {seconds:.0f} s, on {processor()}"),
        ],
    }
    written = json.loads(nbformat.writes(notebook))
    written["metadata"]["report"]["digest"] = site.digest(written)
    write(job.executed / f"{page}.ipynb", json.dumps(written, indent=1))
    return seconds


def environment(job):
    """The environment variables of a kernel."""
    variables = dict(os.environ)
    variables["PYTHONPATH"] = os.pathsep.join(filter(None, (str(runs.ROOT), variables.get("PYTHONPATH"))))
    variables |= {"RECNET_BUILD": str(runs.BUILD), "RECNET_REPORT": "1"}
    if variables.get("DATA_DIR"):
        variables["DATA_DIR"] = str(Path(variables["DATA_DIR"]).resolve())  # a kernel runs in another folder
    if job.standin:
        variables["RECNET_STANDIN"] = "1"  # so that no kernel looks for the real data again
    if job.publish:
        variables["RECNET_READ_ONLY"] = "1"
    return variables


def _failure(page, log, error):
    """One line: which notebook and cell, its first line, the error, and where the executed notebook lies."""
    try:
        cells = json.loads(log.read_bytes())["cells"]
    except (OSError, ValueError):  # none, or cut off on a full disk
        cells = []
    started = [cell for cell in cells if cell["metadata"].get("papermill", {}).get("start_time")]
    where = ""
    if started:  # the last one failed; one of those before it is papermill's own, with the parameters
        line = "".join(started[-1]["source"]).strip().partition("\n")[0]
        where = f" in cell {len(started) - 1} ({line})"
    what = f"{error.ename}: {error.evalue}" if hasattr(error, "ename") else f"{type(error).__name__}: {error}"
    beside = f" [executed so far: {os.path.relpath(log)}]" if cells else ""
    return f"{page} failed{where}: {' '.join(what.split())[:300]}{beside}"


def processor():
    name = machine.cpu_info("model name") or platform.processor() or "an unnamed processor"
    return f"{name}, {counted(machine.threads(), 'core')}"


def versions():
    """Python and the libraries that a page's numbers and pictures come from, each with its version."""
    return [f"Python {platform.python_version()}", *(f"{name} {metadata.version(name)}" for name in VERSIONS)]


def provenance(job, records):
    """How a page was made, [(what, text), ...]: parameters, data, runs, software, commit."""
    machines = [record["machine"] for record in records]

    def each(form):
        return ", ".join(sorted({form.format(**machine) for machine in machines}))

    seeds = {
        "seeds of small runs" if job.publish and name == "seeds" else name: v for name, v in job.parameters.items()
    }
    foot = [
        ("Parameters", ", ".join(f"{name} {value}" for name, value in seeds.items())),
        ("Data", "stand-in images, drawn by a program" if job.standin else "the official MNIST and CIFAR-10"),
        ("Software", ", ".join(versions())),
        ("Commit", machine.commit()),
    ]
    if machines:
        minutes = sum(machine["seconds"] for machine in machines) / 60
        foot += [
            (
                "Runs and checks",
                f"{len(machines)}, {minutes:,.0f} minutes in all; {each('{date}')}, at commit {each('{commit}')}",
            ),
            ("Their machine", ", ".join(sorted({_on(machine) for machine in machines}))),
        ]
    return foot


def _on(machine):
    threads = counted(machine["threads"], "thread")
    precision = f" in {machine['precision']}" * bool(machine["precision"])  # a check without training has none
    return f"{machine.get('gpu') or machine['device']} ({machine['cpu']}, {threads}){precision}"


def outlook(job, selected):
    """Says how much there is to do, and about how long it will take."""
    stale = [page for page in selected if not job.done(page)]
    if not stale:
        return "nothing has changed"
    claims = [claim for page in stale for claim in job.pages[page] or experiments.ALSO.get(page, ())]
    wanted = [] if job.publish else experiments.wanted(claims, job.profile, job.seed, job.seeds)
    missing = [e for e, s in wanted if not train.finished(job.store / e.key(s, job.identities[e.dataset]))]
    seconds = PAGE * len(stale) + RUN * len(missing)
    seconds += forecast.Forecast(runs.read(job.store)).total(missing)
    text = f"{len(stale)} of {len(selected)} pages to make, {len(missing)} of {len(wanted)} runs to train: about "
    text += f"{forecast.words(seconds)} (a repeat takes seconds)"
    if missing and not machine.fast_bfloat16():
        text += "\nwithout a GPU or a processor that is fast in bfloat16 this takes up to twice as long as elsewhere"
    return text


# --- all pages ---


def make(job, selected):
    """Executes those of the selected pages that changed, renders the site, and says how it went. Raises Failed."""
    start, terminal, took = time.monotonic(), Terminal(), {}
    print(outlook(job, selected), flush=True)
    try:
        for i, page in enumerate(selected, 1):
            terminal.start(f"[{i} of {len(selected)}] {page}")
            took[page] = "unchanged" if job.done(page) else f"{execute(job, page, terminal):.0f} s"
            terminal.end(took[page])
    except Failed:
        terminal.end("failed")
        render(job)  # what was finished before
        raise
    finally:
        terminal.break_line()
    index = render(job)
    print(" · ".join(f"{page} {text}" for page, text in took.items()))
    seconds = time.monotonic() - start
    after = f"{seconds / 60:.1f} minutes" if seconds > 90 else f"{seconds:.0f} s"
    print(f"{os.path.relpath(index)} is ready, after {after}", flush=True)


def render(job):
    """Brings the site up to date with the executed notebooks; returns the path of its front page."""
    folders = site.Site(tuple(job.pages), job.notebooks, job.executed, job.site)
    records = job.records()
    return site.build(folders, [job.code, job.parameters, job.standin, records], lambda: front(job, records))


def front(job, records):
    """What the front page shows beside the pages' questions: the verdicts, and how they came about."""
    from lib import claims

    recorded = runs.read(job.results)
    table = claims.table(recorded, runs.read(job.store), job.beside, job.seed, job.seeds, job.standin)
    page = {claim: page for page, asked in reversed(job.pages.items()) for claim in asked}
    return {
        "halves": claims.title(claims.judge("paper", recorded)),
        "interim": claims.interim(recorded),
        "claims": [row | {"page": page.get(row["id"])} for row in table.to_dict("records")],
        "profile": job.beside,
        "publish": job.publish,
        "small": [],
        "standin": job.standin,
        "shows": _hash(records),
        "provenance": provenance(job, records),
    }


def arguments(argv, pages):
    """The command line, checked. Exits with code 2 on what is wrong."""
    parser = argparse.ArgumentParser(prog="python -m lib.report", description="Run the notebooks, render the site.")
    parser.add_argument("--profile", choices=experiments.PROFILES, help="size of the runs (default: quick)")
    parser.add_argument("--seeds", type=int, default=1, help="number of seeds (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--nb", metavar="NN", help="one notebook alone: 04, or 04_recnet_paper")
    parser.add_argument("--publish", action="store_true", help="render report/ from results/, training nothing")
    args = parser.parse_args(argv)
    args.selected = [page for page in pages if args.nb in (None, page, page[:2], page[:2].lstrip("0"))]
    if not args.selected:
        parser.error(f"no notebook is called {args.nb!r}: choose from {', '.join(pages)}")
    if args.seeds < 1 or not 0 <= args.seed <= 2**32 - args.seeds:  # what numpy and Keras take
        parser.error("--seeds must be at least 1, and --seed from 0 to 2**32 - 1, the last of them too")
    if args.publish and args.profile not in (None, "paper"):
        parser.error("--publish shows the recorded runs, those of profile paper: leave --profile out")
    args.profile = args.profile or ("paper" if args.publish else "quick")
    if args.profile == "paper" and (args.seed, args.seeds) != (0, 1):
        parser.error("the seeds of profile paper are fixed: leave --seed and --seeds out")
    return args


def prepare(args, changes):
    """Gets the data; returns the job. Raises DataError, or Failed where real data are needed and there are none."""
    sets = [data.load(name, standin=args.profile == "smoke") for name in data.SPECS]
    standin = any(s.standin for s in sets)
    if standin:
        sets = [data.load(s.name, standin=True) for s in sets]
        if args.profile == "paper":
            raise Failed(f"profile paper takes the real data only: {data.HOW_TO_GET}")
        print("stand-in data: the images are drawn by a program, and no number says anything about the paper")
    job = Job(
        profile=args.profile,
        seed=args.seed,
        seeds=args.seeds,
        identities={s.name: s.identity for s in sets},
        standin=standin,
        store=runs.QUICK if args.publish else runs.store(args.profile),
        executed=runs.BUILD / ("published" if args.publish else "notebooks"),
        site=runs.ROOT / "report" if args.publish else runs.BUILD / "report",
        publish=args.publish,
    )
    return replace(job, **changes)


def main(argv=None, **changes):
    """The command line; returns its exit code. changes: fields of the Job that are not to be the repository's."""
    args = arguments(argv, changes.get("pages", experiments.PAGES))

    def work():
        job = prepare(args, changes)
        make(job, args.selected)
        if job.standin:
            smoke = "profile smoke takes no others, profile quick takes the real ones"
            print(f"These are stand-in data; {smoke if job.profile == 'smoke' else data.HOW_TO_GET}")

    known = Failed, data.DataError, StoreError, site.SiteError
    goes_on = "interrupted: finished pages and epochs are kept, the same command goes on from there"
    return commands.ended(work, *known, interrupted=goes_on)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    sys.exit(main())
