"""Numbers in sentences, and what shows them in a notebook."""

import inspect
import re
import textwrap

import pandas as pd

from lib.design import layers


def pm(values, digits=1):
    """A mean in prose: "12.3 ± 0.4" (standard deviation), "12.3" of one value, "-" of none; None is skipped."""
    values = pd.Series(values, dtype=float).dropna()
    spread = f" ± {values.std():,.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():,.{digits}f}{spread}" if len(values) else "-"


def counted(n, what):
    """1, "seed" -> "1 seed"; 3, "seed" -> "3 seeds"."""
    return f"{n} {what}{'s' * (n != 1)}"


def course(frame):
    """What the learning curves of runs show, in sentences: means over the runs of a frame as `grid.get` returns it."""
    unseen, printed = (
        pd.DataFrame([[epoch[name] for epoch in curve] for curve in frame.curve], dtype=float).mean()
        for name in ("val_error", "train_error")
    )
    if not unseen.notna().all() or frame.empty:
        return "Not recorded yet."
    text = f"Validation error after the first epoch: {unseen.iloc[0]:.1f} %"
    if len(unseen) > 1:
        text += f", after the last of {len(unseen)}: {unseen.iloc[-1]:.1f} %"
    if len(unseen) > 10:
        text += f", of which the last five took off {unseen.iloc[-6] - unseen.iloc[-1]:.1f} points"
    return f"{text}. Training error as printed in the last epoch: {printed.iloc[-1]:.1f} %."


def setting(frame):
    """How the runs of a frame, as `grid.get` returns it, were trained: "20 layers, 45,000 images, 10 epochs, 3 seeds
    an arm, on CPUs"; without what is not the same for all. Of none "Not recorded yet"."""
    depths = [e["options"].get("n") for e in frame.experiment]
    facts = {
        "depth": [f"{layers(n)} layers" if isinstance(n, int) else "" for n in depths],
        "images": [f"{n:,.0f} images" for n in frame.n_train],
        "epochs": [counted(len(curve), "epoch") for curve in frame.curve],
        "seeds": [f"{counted(n, 'seed')} an arm" for n in frame.groupby("arm").seed.transform("nunique")],
        "device": ["on a GPU" if machine["device"].startswith("gpu") else "on CPUs" for machine in frame.machine],
    }
    return ", ".join(found[0] for found in facts.values() if len(set(found)) == 1 and found[0]) or "Not recorded yet"


def is_small(frame):
    """Whether there are runs in a frame as `grid.get` returns it, and all saw less of CIFAR-10 than at full scale,
    where the validation images alone may be kept out."""
    return 0 < max(frame.n_train, default=0) < 45_000


def say(text):
    """Shows Markdown: prose whose numbers come from records, through an f-string."""
    from IPython.display import Markdown, display

    display(Markdown(text))


def show(*objects):
    """Shows the source of functions, classes or methods, so that a notebook need not repeat what it calls."""
    say("```python\n" + "\n\n".join(textwrap.dedent(inspect.getsource(o)).rstrip() for o in objects) + "\n```")


def spaced(name):
    """A state's name for tables: stage2_step1 becomes "stage 2, step 1"."""
    return re.sub(r"(?<=[a-z])(?=\d)", " ", name.replace("_", ", "))


def short(value, form=".3g"):
    """272474 -> "272k", for labels."""
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= 0.9995 * s), (1, ""))
    return f"{value / size:{form}}".rstrip(".") + unit


def measured(value):
    """A measured number with three digits, in labels as in captions: 13 -> "13.0"."""
    return short(value, "#.3g")


def extremes(values, where="", text=measured):
    """The lowest and the highest of {label: number} in the form `text`, as a sentence; "" where there are not two."""
    if len(values) < 2:
        return ""

    def named(most):
        shown = text(most(values.values()))
        first, *others = (label for label, value in values.items() if text(value) == shown)
        others = others if len(others) < 2 else [f"{len(others)} more"]
        return f"{' and '.join([first, *others])}, {shown}"

    low, high = map(named, (min, max))
    return f"All{where}: {text(max(values.values()))}." if low == high else f"Lowest{where}: {low}; highest: {high}."
