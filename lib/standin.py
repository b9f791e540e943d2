"""Stand-in data: images drawn here, in the shapes and types of the real ones, for machines that have none of these."""

from itertools import product

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def draw(
    name: str, n_train: int, n_test: int, shape: tuple[int, int, int], rng: np.random.Generator
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """([x_train, y_train, x_test, y_test], the classes) in the place of "mnist" or "cifar10"; all arrays are uint8.

    Light digits, or shapes in stripes and colours, on darker noise; as many images of one class as of any other. The
    same generator gives the same images.
    """
    (side, _, channels), n = shape, n_train + n_test
    labels = np.concatenate([rng.permutation(np.arange(m) % 10) for m in (n_train, n_test)]).astype(np.uint8)
    characters = "●■▲◆▼○□♥♣◐" if name == "cifar10" else "0123456789"
    glyphs = _glyphs(characters, side)
    if name == "cifar10":
        glyphs[:, :, np.arange(side + 6) % 4 < 2] //= 2  # stripes
    windows = sliding_window_view(glyphs, (side, side), axis=(2, 3))  # (variants, 10, 7, 7, side, side)
    variant, (dy, dx) = rng.integers(0, len(glyphs), n), rng.integers(0, 7, (2, n))
    front = rng.integers(96, 224, (n, channels), np.int16)
    back = rng.integers(32, 160 if name == "cifar10" else 33, (n, channels), np.int16)
    images = np.empty((n, *shape), np.uint8)
    for start in range(0, n, 500):  # in pieces that stay in the processor's cache
        part = slice(start, start + 500)
        cover = windows[variant[part], labels[part], dy[part], dx[part]]
        noise = np.frombuffer(rng.bytes(cover.size * channels), np.uint8).reshape(*cover.shape, channels) & 63
        for channel in range(channels):
            a, b = front[part, channel, None, None], back[part, channel, None, None]
            images[part, ..., channel] = b + (cover * (a - b) >> 7) + noise[..., channel] - 32  # 0 to 254
    return [images[:n_train], labels[:n_train], images[n_train:], labels[n_train:]], tuple(characters)


def _glyphs(characters: str, side: int) -> np.ndarray:
    """Ten characters in 90 variants, with a margin of 3 pixels: int16 (90, 10, side + 6, side + 6), 0 to 127."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    pictures = []
    for face, size in product(("Sans", "Sans-Bold", "Sans-Oblique", "Serif", "Serif-Bold", "SansMono"), (20, 23, 26)):
        font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVu{face}.ttf", size)
        for angle, character in product((-20, -10, 0, 10, 20), characters):
            picture = Image.new("L", (side + 6, side + 6))
            ImageDraw.Draw(picture).text((side / 2 + 3, side / 2 + 3), character, fill=127, font=font, anchor="mm")
            pictures.append(np.asarray(picture.rotate(angle, Image.Resampling.BILINEAR), np.int16))
    return np.reshape(pictures, (-1, 10, side + 6, side + 6))
