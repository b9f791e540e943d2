"""The README's table of verdicts, written from the recorded runs: `python -m lib.readme`, part of `make publish`."""

import re
import sys

from lib import claims, commands, runs
from lib.records import StoreError, write

README = runs.ROOT / "README.md"
BLOCK = re.compile(r"(<!-- verdicts:.*?-->\n).*?(<!-- /verdicts -->)", re.DOTALL)


def table(records, quick):
    """What the recorded runs, of full scale and quick ones, say of each claim, as a Markdown table."""
    halves = claims.title(claims.judge("paper", records))
    rows = [
        f"**{halves['experiment']}** the paper's experiment, **{halves['thesis']}** the paper's thesis "
        "([Re] reproduces, [¬Re] does not, [?] recorded runs do not decide it yet).",
        "",
        "| claim | the paper | number | recorded | quick run | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in claims.table(records, quick).to_dict("records"):
        shown = ("paper", "number", "recorded", "this run", "verdict")
        cells = (f"{row['id']} {row['claim']}", *(row[name] for name in shown))
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def updated(text, records, quick):
    """The README's text with its table as it should be."""
    return BLOCK.sub(lambda block: f"{block[1]}\n{table(records, quick)}\n{block[2]}", text)


def main():
    return commands.ended(_update, StoreError)


def _update():
    text = updated(README.read_text(encoding="utf-8"), runs.read(runs.RESULTS), runs.read(runs.QUICK))
    write(README, lambda file: file.write(text.encode()))


if __name__ == "__main__":
    sys.exit(main())
