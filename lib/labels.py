"""Direct labels in place of legends, and logarithmic axes that can be read."""

from itertools import pairwise

import numpy as np
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lib.pictures import mix
from lib.prose import short

# Where around a point its label may stand, in halves of its size, and how far off, in inches.
SIDES = [(x, y) for x in (1, 0, -1, 0.5, -0.5) for y in (0, 1, -1) if x in (1, -1) or y]
DISTANCES = (0.08, 0.15, 0.25, 0.4, 0.6, 0.8, 1.1, 1.4)
EARLY = 0.7  # of the panel's width, up to which a line ends early
LEADER = 0.12  # inches off from which a line leads from a label to its point


def log_axis(axis):
    """A logarithmic axis whose ticks can be read also where it spans less than a decade."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = np.log10(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high - low < 2.5 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axis.set_minor_formatter(NullFormatter())


def spread(places, gap):
    """Places in rising order, moved apart as little as it takes to be `gap` from each other."""
    places = np.array(places, float)
    for _ in range(500):
        overlap = np.clip(gap - np.diff(places), 0, None) / 2
        places[:-1] -= overlap
        places[1:] += overlap
    return places


def label_ends(ax, ends):
    """A label right of the panel for each line, [(x, y of its end, text, colour)]; those that overlap move apart. One
    that ends early has its label beside its end."""
    ends = sorted(ends, key=lambda end: end[1])
    ax.autoscale_view()  # else the limits are not known before the figure is drawn
    places = (ax.transScale + ax.transLimits).transform([end[:2] for end in ends])[:, 1]
    gap = 0.2 / (ax.figure.get_size_inches()[1] - 0.6)  # a line of text, as a share of the panel's height
    for (*end, text, colour), place in zip(ends, spread(places, gap), strict=True):
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.8, "ls": (0, (3, 1.5)), "shrinkB": 3, "relpos": (0, 0.5)}
        style = {"color": mix(colour, "black", 0.35), "annotation_clip": False}
        if (ax.transScale + ax.transLimits).transform(end)[0] < EARLY:  # a line of dashes would seem to go on with it
            ax.annotate(text, end, (8, 0), textcoords="offset points", va="center", **style)
        else:
            ax.annotate(text, end, (1.07, place), textcoords="axes fraction", va="center", arrowprops=leader, **style)


def label_points(ax, points, lines=(), dots=()):
    """A label for each point, [(x, y, text, colour)], as near as there is room within the panel, which the lines
    [(x of their points, y of them)] and the other dots [(x, y)] take away too, and if possible no nearer to another;
    from one that is not beside its point a thin line leads there."""
    ax.figure.draw_without_rendering()  # else places are not known
    corner, panel = ax.bbox.min / ax.figure.dpi, ax.bbox.size / ax.figure.dpi

    def inches(x, y):
        return ax.transData.transform(np.transpose((x, y))) / ax.figure.dpi - corner

    marks = inches(*zip(*(point[:2] for point in points), *dots, strict=True))
    spots = marks[: len(points)]
    ways = [way for line in lines for way in pairwise(inches(*line))]
    taken = [(mark, 0.06) for mark in marks]  # what is on the panel: centre and half its size
    taken += [(at, 0.03) for way in ways for at in np.linspace(*way, 40) if np.isfinite(at).all()]
    for (*point, text, colour), spot in zip(points, spots, strict=True):
        half = np.array([TextPath((0, 0), text, size=9).get_extents().width / 144 + 0.04, 0.07])
        centres, sizes = np.array([at for at, _ in taken]), np.array([np.broadcast_to(size, 2) for _, size in taken])
        choices, others = [], marks[np.hypot(*(marks - spot).T) > 0.02]
        for shift in ((half + distance) * side for distance in DISTANCES for side in SIDES):
            off = np.clip(0, shift - half, shift + half)  # from the point to the nearest place of its label
            far = np.hypot(*off)
            way = [spot + off * share for share in np.arange(0.1, 1, 0.03 / far)] if far > LEADER else []
            outside = (spot + shift < half).any() or (spot + shift > panel - half).any()
            hidden = np.all(abs(spot + shift - centres) < half + sizes, axis=1).sum()
            nearer = (np.hypot(*np.clip(abs(others - spot - shift) - half, 0, None).T) < min(far, LEADER) + 0.05).any()
            crossed = sum(np.all(abs(at - centres) < sizes, axis=1).any() for at in way)
            choices.append((1e4 * outside + 100 * hidden + 5 * crossed + 15 * nearer + 10 * far, shift, off, way))
        _, shift, off, way = min(choices, key=lambda choice: choice[0])
        taken += [(spot + shift, half + np.array((0.06, 0))), *((at, 0.02) for at in way)]
        leader = {"arrowstyle": "-", "color": colour, "lw": 0.7, "shrinkA": 0, "shrinkB": 3}
        leader["relpos"] = (off - shift + half) / (2 * half)
        style = {"ha": "center", "va": "center", "size": 9, "color": mix(colour, "black", 0.35), "in_layout": False}
        style |= {"arrowprops": leader} if way else {}
        ax.annotate(text, point, 72 * shift, textcoords="offset points", **style)
