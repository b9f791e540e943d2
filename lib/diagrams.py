"""The paper's drawings (figures 1, 2, 3, 7), made from the nets themselves: a drawing can't disagree with its net."""

import textwrap

import seaborn as sns
from keras import ops
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from lib.layers import BatchNorm, ConvBlock, GroupNorm, ResidualBlock
from lib.pictures import COLOURS, INK, PANEL, WIDTH, Picture, mix
from lib.prose import spaced

KINDS = {"conv": "#56B4E9", "norm": "#E69F00", "activation": "#009E73", "pool": "#9A9A9A"}
PLUS = ("+", None)
TITLES = {  # Keras layers in words, from their configuration
    "InputLayer": "image",
    "Rescaling": "scale to mean 0, deviation 1",
    "MaxPooling2D": "max-pool {pool_size[0]}, /{strides[0]}",
    "GlobalAveragePooling2D": "average",
    "RepeatVector": "repeat {n} times",
    "SimpleRNN": "simple RNN {units}, {activation}",
    "Dropout": "dropout {rate}",
    "Dense": "dense {units}",
}


class _Sheet:
    """Something to draw on, in inches from the top left corner."""

    def __init__(self, height):
        self.figure = Figure((WIDTH, height))
        self.ax = self.figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(height, 0))
        self.ax.axis("off")

    def crop(self, width):
        """Leaves off what is right of `width`."""
        self.figure.set_figwidth(width)
        self.ax.set_xlim(0, width)

    def text(self, x, y, text, size=9, **style):
        self.ax.text(x, y, text, size=size, **{"ha": "center", "va": "center", "linespacing": 1.25} | style)

    def heading(self, y, text, x=0.1):
        self.text(x, y, text, ha="left", weight="bold")

    def box(self, x, y, text, colour, width=0.74, height=0.48, size=9):
        """A rounded box around (x, y)."""
        shape = FancyBboxPatch((x - width / 2, y - height / 2), width, height, "round,pad=0,rounding_size=0.06")
        shape.set(facecolor=mix(colour, PANEL, 0.6), edgecolor=mix(colour, "black", 0.2), zorder=3)
        self.ax.add_patch(shape)
        self.text(x, y, text, size, zorder=4)

    def arrow(self, *points, colour=INK):
        """A line through the points, with its head at the last."""
        self.ax.plot(*zip(*points[:-1], strict=True), color=colour, lw=1.2)
        head = {"arrowstyle": "-|>", "color": colour, "lw": 1.2, "shrinkA": 0, "shrinkB": 0}
        self.ax.annotate("", points[-1], points[-2], arrowprops=head)

    def plus(self, x, y, start, side=()):
        """A sum at (x, y), with its shortcut from (start, y) over the top; side: the parts that lie on the shortcut."""
        self.text(x, y, "+", 12, bbox={"boxstyle": "circle,pad=0.1", "facecolor": PANEL, "edgecolor": INK})
        self.arrow((start, y), (start, y - 0.66), (x, y - 0.66), (x, y - 0.11))
        for i, (text, kind) in enumerate(side):
            at, height = (start + x) / 2 + 0.95 * (i - (len(side) - 1) / 2), 0.26 + 0.16 * text.count("\n")
            self.box(at, y - 0.66, text, KINDS[kind], height=height)

    def loop(self, left, right, y, times):
        """An arrow back from the right end of something to its left end, below it."""
        self.arrow((right, y), (right, y + 0.18), (left, y + 0.18), (left, y), colour=COLOURS["tied"])
        self.text(right + 0.08, y + 0.16, f"{times} times", ha="left", color=mix(COLOURS["tied"], "black", 0.3))


def _size(shape):
    return "x".join(str(n) for n in shape[1:])


def _conv(conv, shape=()):
    """A convolution's kernel, channels, stride unless it is 1 and, from the shape of its output, the size of that."""
    stride = f", /{conv.strides[0]}" if conv.strides[0] > 1 else ""
    return f"{_size((0, *conv.kernel_size))} conv\n{conv.filters}{stride}\n{_size(shape[:-1])}".strip()


def _norm(norm):
    """A norm as a list of parts, [(text, kind)]: one, or none where there is no norm."""
    name = {BatchNorm: "batch\nnorm", GroupNorm: "group\nnorm"}.get(type(norm))
    return [(name, "norm")] if name else []


def _activation(layer):
    name = {"relu": "ReLU", "linear": None}.get(layer.activation.__name__, layer.activation.__name__)
    return [(name, "activation")] if name else []


def _parts(layer):
    """The parts of a ConvBlock or ResidualBlock (shortcut aside), in the order in which it computes."""
    if isinstance(layer, ResidualBlock):
        after = [PLUS] * layer.shortcut + _norm(layer.norm) + _activation(layer.activation)
        return _parts(layer.conv1) + _parts(layer.conv2) + after
    conv, rest = [(_conv(layer.conv), "conv")], _norm(layer.norm) + _activation(layer.activation)
    return rest + conv if layer.pre else conv + rest


def _words(parts):
    return ", ".join(text.replace("\n", " ") for text, _ in parts)


def _loops(stage):
    return stage.tied and stage.depth > 1


def _title(layer):
    """Any layer in a few words."""
    if isinstance(layer, (ConvBlock, ResidualBlock)):
        return _words(_parts(layer))
    name = type(layer).__name__
    return TITLES.get(name, name.lower()).format(**layer.get_config())


def block(*blocks, labels=()):
    """Figure 1: residual blocks, one below the other, each from left to right in the order in which it computes."""
    pitch = 1.5 if labels else 1.3
    sheet, alt = _Sheet(pitch * len(blocks)), []
    for row, layer in enumerate(blocks):
        parts, y, label = _parts(layer), pitch * (row + 1) - 0.45, labels[row] if labels else "a block"
        step, end, shortcut = (WIDTH - 0.8) / len(parts), 0.2, ""
        sheet.heading(y - 0.85, label if labels else "")
        sheet.text(0.1, y, "x")
        for i, (text, kind) in enumerate(parts):
            x = 0.4 + step * (i + 0.5)
            half = 0.37 if kind else 0.11
            sheet.arrow((end, y), (x - half, y))
            end = x + half
            if kind:
                sheet.box(x, y, text, KINDS[kind])
            else:
                side = _parts(layer.project) if layer.project else []
                sheet.plus(x, y, 0.3, side)
                shortcut = f"; shortcut: {_words(side) or 'identity'}"
        sheet.arrow((end, y), (WIDTH - 0.1, y))
        alt.append(f"{label}: {_words(parts)}{shortcut}")
    return Picture(sheet.figure, f"What a block computes, in order. {'. '.join(alt)}.")


def unrolled(*stages):
    """Figure 2: a tied stage as a loop and as the chain it stands for, in one colour; an untied one, in many."""
    rows = [(stage, looped) for stage in stages for looped in ((True, False) if _loops(stage) else (False,))]
    sheet, alt = _Sheet(1.1 * len(rows) + 0.25), []
    for row, (stage, looped) in enumerate(rows):
        y, tied, different = 1.1 * row + 0.6, _loops(stage), list(dict.fromkeys(stage.blocks))
        palette = [COLOURS["tied"]] if tied else sns.color_palette("viridis", len(different)).as_hex()
        blocks = different if looped else stage.blocks
        step, end, words = min(1, (WIDTH - 0.9) / max(1, len(blocks))), 0.28, []
        for t, layer in enumerate(blocks):
            x, own = 0.5 + step * (t + 0.5), not tied or getattr(layer.conv1.norm, "statistics", 1) > 1
            norm = "\nN" + ("" if not own else "t" if looped else str(t + 1))
            text = f"W{'' if tied else t + 1}{norm if _norm(layer.conv1.norm) else ''}"
            sheet.arrow((end, y), (x - 0.36 * step, y))
            sheet.box(x, y, text, palette[different.index(layer)], 0.72 * step, size=9 if step > 0.5 else 6.5)
            words.append(text.replace("\n", " "))
            end = x + 0.36 * step
        sheet.arrow((end, y), (end + 0.28 * step, y))
        if looped:
            sheet.loop(0.74, end - 0.1, y + 0.24, stage.depth)
        elif tied:
            sheet.text(0.14, y, "=", 14)
        if looped or not tied:
            sheet.heading(y - 0.45, stage.name)
        alt.append(f"{stage.name}, {f'a loop of {stage.depth}' if looped else 'its steps'}: {', '.join(words)}")
    key = "W: the weights of a step" + "; N: its norm" * any(_norm(b.conv1.norm) for s in stages for b in s.blocks)
    sheet.text(0.1, 1.1 * len(rows) + 0.1, key, ha="left")
    return Picture(sheet.figure, f"Stages unrolled, W being the weights of a step and N its norm. {'; '.join(alt)}.")


def net(model):
    """Figure 3: a ResidualNet's convolutions with kernel, channels, stride and size of the output; norms are left out.

    A block that is applied several times stands once, in a loop.
    """
    image = ops.zeros((1, *model.get_build_config()["input_shape"][1:]), "uint8")
    sizes = {name: x.shape for name, x in model.states(image)}
    stem = [(layer, 1) for layer in (model.stem, model.pool) if layer]
    rows = [("stem", stem, model.stem(model.scale(image)).shape)]
    for s, stage in enumerate(model.stages):
        blocks = [(stage.transition, 1)] if stage.transition else []
        blocks += [(stage.blocks[0], stage.depth)] if _loops(stage) else [(layer, 1) for layer in stage.blocks]
        name, size = spaced(stage.name), sizes[f"stage{s + 1}_step0"]
        rows += [(name, blocks[i : i + 3], size) for i in range(0, len(blocks), 3)]
    rows.append(("head", [(model.average, 1), (model.logits, 1)], (1, model.logits.units)))
    over = [0.62 * any(getattr(layer, "shortcut", False) for layer, _ in blocks) for _, blocks, _ in rows]
    under = [0.28 * any(times > 1 for _, times in blocks) for _, blocks, _ in rows]
    sheet, alt, y, right = _Sheet(sum(over + under) + 1.02 * len(rows)), [], -0.4, 0
    for row, (name, blocks, shape) in enumerate(rows):
        y, end, words = y + 1.02 + over[row] + (under[row - 1] if row else 0), 0.12, []
        sheet.heading(y - 0.46 - over[row], f"{name}: {_size(shape)}")
        for i, (layer, times) in enumerate(blocks):
            left, x = end, 0.65 + 2.2 * i
            for part in (layer.conv1, layer.conv2) if isinstance(layer, ResidualBlock) else (layer,):
                conv = isinstance(part, ConvBlock)
                text = _conv(part.conv, shape) if conv else _title(part).replace(" ", "\n")
                sheet.arrow((end, y), (x - 0.37, y))
                sheet.box(x, y, text, KINDS["conv" if conv else "pool"], height=0.6)
                words.append(text.replace("\n", " "))
                x, end = x + 0.9, x + 0.37
            if getattr(layer, "shortcut", False):
                side = [(_conv(layer.project.conv, shape), "conv")] if layer.project else []
                sheet.arrow((end, y), (x - 0.4, y))
                sheet.plus(x - 0.29, y, left + 0.08, side)
                end = x - 0.18
                words += [f"shortcut {text}".replace("\n", " ") for text, _ in side]
            if times > 1:
                sheet.loop(left + 0.2, end - 0.08, y + 0.32, times)
                right = max(right, end + 0.55)  # with its number
                words.append(f"the last two {times} times")
        sheet.arrow((end, y), (end + 0.2, y))
        right = max(right, end + 0.3)
        alt.append(f"{name}, {_size(shape)}: {', '.join(words)}")
    sheet.crop(right)
    return Picture(sheet.figure, f"A net, a row a stage. {'. '.join(alt)}.")


def side_by_side(*models, labels=()):
    """Figure 7: functional models, a column each, from top to bottom; layers that all of them have are blue."""
    titles = [[textwrap.fill(_title(layer), 33) for layer in model.layers] for model in models]
    common = set(titles[0]).intersection(*titles)
    same = next((i for i, row in enumerate(zip(*titles, strict=False)) if len(set(row)) > 1), 0)
    rows, alt = max(map(len, titles)), []
    sheet = _Sheet(0.62 * rows + 0.4)
    for column, (model, names) in enumerate(zip(models, titles, strict=True)):
        x, end, label = WIDTH / len(models) * (column + 0.42), None, labels[column] if labels else model.name
        sheet.heading(0.15, label, x - 1.2)
        for i, (layer, name) in enumerate(zip(model.layers, names, strict=True)):
            y = 0.6 + 0.62 * (i if i < same else rows - len(names) + i)  # what follows a difference stands level again
            if end:
                sheet.arrow((x, end), (x, y - 0.22))
            if isinstance(layer, ResidualBlock):
                sheet.arrow((x - 1.2, y - 0.14), (x - 1.32, y - 0.14), (x - 1.32, y + 0.14), (x - 1.2, y + 0.14))
            end = y + 0.22
            sheet.box(x, y, name, COLOURS["untied" if name in common else "tied"], 2.4, 0.44)
            sheet.text(x + 1.25, y, _size(layer.output.shape), ha="left")
        alt.append(f"{label}: {', '.join(names)}".replace("\n", " "))
    others = dict.fromkeys(name for names in titles for name in names if name not in common)
    alt.append(f"Not in all of them: {', '.join(others)}")
    return Picture(sheet.figure, f"{len(models)} nets, layer by layer; common layers are blue. {'. '.join(alt)}.")
