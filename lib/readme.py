"""The README's picture and table, from the recorded runs: `python -m lib.readme`, part of `make publish`."""

import argparse
import re
import sys
from html import unescape

from lib import claims, commands, runs
from lib.records import StoreError, write

README = runs.ROOT / "README.md"
PICTURE = "report/story.svg"  # written with the published site
BLOCK = re.compile(r"(<!-- verdicts:.*?-->\n).*?(<!-- /verdicts -->)", re.DOTALL)


def table(records, quick):
    """What the recorded runs, of full scale and quick ones, say of each claim, as a Markdown table."""
    halves, interim = claims.title(claims.judge("paper", records)), claims.interim(records)
    rows = [
        f"**{halves['experiment']}** the paper's experiment, **{halves['thesis']}** the paper's thesis "
        "([Re] reproduces, [¬Re] does not, [?] recorded runs do not decide it yet)."
        f"{' Full-size runs of the latter so far:' if interim else ''}",
        "",
        *(f"- {said}." for said in interim),
        "",
        "| claim | the paper | number | recorded | quick run | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in claims.table(records, quick).to_dict("records"):
        shown = ("paper", "number", "recorded", "this run", "verdict")
        cells = (f"{row['id']} {row['claim']}", *(row[name] for name in shown))
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def picture():
    """The figure of the published front page, as Markdown, with its alternative text; leads to the site."""
    alt = unescape(re.search('aria-label="([^"]*)"', (runs.ROOT / PICTURE).read_text(encoding="utf-8"))[1])
    return f"[![{alt}]({PICTURE})](report/index.html)\n\n*{alt.partition('. ')[0]}.*\n"


def updated(text, records, quick):
    """The README's text with its picture and table as they should be."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{picture()}\n{table(records, quick)}\n{block[2]}", text)


def main(argv=None):
    argparse.ArgumentParser(
        prog="python -m lib.readme", description="The README's picture and table, from the recorded runs."
    ).parse_args(argv)
    return commands.ended(_update, StoreError)


def _update():
    text = updated(README.read_text(encoding="utf-8"), runs.read(runs.RESULTS), runs.read(runs.QUICK))
    write(README, text)


if __name__ == "__main__":
    sys.exit(main())
