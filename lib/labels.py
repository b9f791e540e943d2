"""Direct labels in place of legends, and logarithmic axes that can be read."""

from itertools import pairwise

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lib.pictures import mix
from lib.prose import short

SIDES = ((1, 0), (0, 1), (0, -1), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))  # of a point, where its label may stand


def log_axis(axis):
    """A logarithmic axis whose ticks can be read also where it spans less than a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = np.log10(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def label_ends(ax, ends):
    """A label right of the panel for each line, [(x, y of its end, text, colour)]; those that overlap move apart."""
    ends = sorted(ends, key=lambda end: end[1])
    ax.autoscale_view()  # else the limits are not known before the figure is drawn
    places = (ax.transScale + ax.transLimits).transform([end[:2] for end in ends])[:, 1]
    gap = 0.2 / (ax.figure.get_size_inches()[1] - 0.6)  # a line of text, as a share of the panel's height
    for _ in range(500):
        overlap = np.clip(gap - np.diff(places), 0, None) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    for (*end, text, colour), place in zip(ends, places, strict=True):
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.9, "ls": (0, (1, 3)), "shrinkB": 3, "relpos": (0, 0.5)}
        style = {"va": "center", "color": mix(colour, "black", 0.35), "arrowprops": leader, "annotation_clip": False}
        ax.annotate(text, end, (1.04, place), textcoords="axes fraction", **style)


def label_points(ax, points, lines=()):
    """A label beside each point, [(x, y, text, colour)], in the first place around it that is free, also of the lines
    [(x of its points, y of them)]."""
    ax.autoscale_view()
    size = ax.figure.get_size_inches() - (1, 0.8)  # of the panel, about
    spots = (ax.transScale + ax.transLimits).transform([p[:2] for p in points]) * size
    taken = [(spot, 0.06) for spot in spots]  # what is on the panel: centre and half its size, in inches
    for line in lines:
        ends = (ax.transScale + ax.transLimits).transform(np.transpose(line)) * size
        taken += [(spot, 0.02) for a, b in pairwise(ends) for spot in np.linspace(a, b, 40) if np.isfinite(spot).all()]
    for (*point, text, colour), spot in zip(points, spots, strict=True):
        half = np.array([0.039 * len(text), 0.07])
        shifts = [(half + distance) * side for distance in (0.08, 0.2) for side in SIDES]
        shifts = [shift for shift in shifts if (spot + shift - half).min() > 0] or shifts  # on no axis
        free = [s for s in shifts if all(np.any(abs(spot + s - at) > half + other) for at, other in taken)]
        shift = (free or shifts)[0]
        taken.append((spot + shift, half))
        style = {"ha": "center", "va": "center", "size": 9, "color": mix(colour, "black", 0.35)}
        ax.annotate(text, point, 72 * shift, textcoords="offset points", **style)
