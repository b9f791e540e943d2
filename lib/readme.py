"""The README's picture and table, from the recorded runs: `python -m lib.readme`, part of `make publish`."""

import argparse
import re
import sys
from html import unescape

from lib import claims, commands, rules, runs
from lib.records import StoreError, write

README = runs.ROOT / "README.md"
PICTURE = "report/story.svg"  # written with the published site
BLOCK = re.compile(r"(<!-- verdicts:.*?-->\n).*?(<!-- /verdicts -->)", re.DOTALL)


def table(records, quick):
    """What the recorded runs, of full scale and quick ones, say of each claim, as a Markdown table."""
    halves, interim = claims.title(claims.judge("paper", records)), claims.interim(records)
    found = claims.table(records, quick)
    number = found.set_index("id").recorded.replace("-", "not run yet")
    thesis = "Full-size runs so far:" if interim else f"Error with shared weights minus without: {number['C11']}."
    rows = [
        f"**{halves['experiment']} the paper's experiment**, rebuilt from its text. Test error of its residual net, "
        f"{rules.DEPTH_1} % in the paper: {number['C7']}; of its recurrent net, {rules.RECNET} % in the paper: "
        f"{number['C8']}; of the latter with seven steps minus with one, which is no recurrence: {number['C15']}.",
        "",
        f"**{halves['thesis']} the paper's thesis**, that a net with shared weights does the deep one's work. {thesis}",
        "",
        *(f"- {said}." for said in interim),
        "",
        "([Re] it reproduces, [¬Re] it does not, [?] recorded runs do not decide it yet.)",
        "",
        "| claim | the paper | number | recorded | quick run | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in found.to_dict("records"):
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
