"""A figure that is redrawn quickly: a few moving artists over a picture of everything else.

Drawing a whole Matplotlib figure takes a tenth of a second or more, drawing a line or two and
restoring a background takes a few milliseconds. So whatever a slider does not change is drawn once
and kept as pixels. What remains is to make a PNG of it: with a palette chosen once and a table from
colour to palette entry that takes a few milliseconds as well.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from toolkit.figures import style

PIXELS = 1.5  # Drawn with so many pixels for each pixel on a plain screen.
CSS_DPI = 100
COMMON = 128

Bytes = npt.NDArray[np.uint8]


class Drawing:
    """A figure and the artists in it that move.

    Change the data of moving artists, then ask for `png()`. After any other change call `settle()`.

    Args:
        figure: Its size in inches times 100 is its size on the screen.
        moving: Drawn anew in every picture, in this order, over everything else.
        colours: That moving artists may take on, besides those that they have when it settles.
    """

    def __init__(
        self, figure: Figure, moving: Sequence[Artist] = (), colours: Sequence[str] = ()
    ) -> None:
        self.figure = figure
        figure.set_dpi(CSS_DPI * PIXELS)
        self.canvas = FigureCanvasAgg(figure)
        self.moving = list(moving)
        self.colours = [_bytes(colour) for colour in colours]
        for artist in self.moving:
            artist.set_animated(True)
        self._background: Any = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the screen."""
        width, height = self.figure.get_size_inches() * CSS_DPI
        return round(width), round(height)

    def settle(self) -> None:
        """Draw everything that does not move and keep it."""
        with style():  # Ticks are made while they are drawn.
            self.canvas.draw()
        self._background = self.canvas.copy_from_bbox(self.figure.bbox)
        self._draw_moving()
        self._palette, self._entry = _palette(self._pixels()[..., :3], self.colours)

    def png(self) -> bytes:
        """The picture as it is now."""
        if self._background is None:
            self.settle()
        self.canvas.restore_region(self._background)
        self._draw_moving()
        pixels = self._pixels().view(np.uint32)[..., 0]  # Little-endian: R in the lowest byte.
        five_bits = (pixels >> 3) & 0x1F | (pixels >> 6) & 0x3E0 | (pixels >> 9) & 0x7C00
        picture = Image.fromarray(self._entry[five_bits], "P")
        picture.putpalette(self._palette)
        return _encoded(picture, level=1)

    def still_png(self) -> bytes:
        """What does not move, for pages that lay `moving_png` over it."""
        if self._background is None:
            self.settle()
        self.canvas.restore_region(self._background)
        return _encoded(Image.fromarray(self._pixels()).convert("RGB"))

    def moving_png(self) -> bytes:
        """What moves, as it is now, on a transparent ground."""
        if self._background is None:
            self.settle()
        self.canvas.get_renderer().clear()
        self._draw_moving()
        return _encoded(Image.fromarray(self._pixels()).quantize(64, Image.Quantize.FASTOCTREE))

    def nearest(
        self, ax: Axes, points: npt.ArrayLike, x: float, y: float, reach: float = 16
    ) -> int | None:
        """Index of the point (n, 2), in data of `ax`, nearest to a place in the picture.

        Args:
            x, y: Shares of the width from the left and of the height from the top.
            reach: In pixels of the screen; None comes back if nothing is as near.
        """
        places = ax.transData.transform(np.asarray(points, float).reshape(-1, 2))
        there = np.array([x, 1 - y]) * self.figure.bbox.size
        distance = np.hypot(*(places - there).T) / PIXELS
        if not distance.size or distance.min() > reach:
            return None
        return int(distance.argmin())

    def _draw_moving(self) -> None:
        for artist in self.moving:
            if artist.get_visible():
                self.figure.draw_artist(artist)

    def _pixels(self) -> Bytes:
        return np.asarray(self.canvas.buffer_rgba())


def _encoded(picture: Image.Image, level: int = 9) -> bytes:
    out = io.BytesIO()
    picture.save(out, "png", compress_level=level)
    return out.getvalue()


def _bytes(colour: str) -> list[int]:
    return [round(255 * channel) for channel in to_rgb(colour)]


def _palette(rgb: Bytes, wanted: Sequence[Sequence[int]]) -> tuple[list[int], Bytes]:
    """256 colours for a picture, and for every colour in 5 bits a channel its entry.

    Half of them are the commonest colours, which keeps flat areas exact; the others cover the
    rest, the edges of lines and letters.
    """
    rgb = np.ascontiguousarray(rgb.reshape(1, -1, 3))
    packed = rgb[0].astype(np.uint32) @ np.array([1, 1 << 8, 1 << 16], np.uint32)
    colours, counts = np.unique(packed, return_counts=True)
    common = colours[counts.argsort()[::-1][:COMMON]]
    exact = np.stack([common & 255, common >> 8 & 255, common >> 16], axis=-1).astype(np.uint8)
    exact = np.concatenate([exact, np.array(wanted, np.uint8).reshape(-1, 3)])
    cover = Image.fromarray(rgb).quantize(256 - len(exact), method=Image.Quantize.MAXCOVERAGE)
    palette = [*exact.ravel().tolist(), *(cover.getpalette() or [])][: 3 * 256]

    channels = np.arange(32, dtype=np.uint8)
    wide = channels << 3 | channels >> 2
    blue, green, red = np.meshgrid(wide, wide, wide, indexing="ij")
    cube = np.stack([red, green, blue], axis=-1).reshape(1, -1, 3)
    limited = Image.new("P", (1, 1))
    limited.putpalette(palette)
    nearest = Image.fromarray(cube).quantize(palette=limited, dither=Image.Dither.NONE)
    entry = np.array(nearest).reshape(-1)
    # Colours that share their five bits: the commonest is written last and wins.
    bits = (exact >> 3).astype(int) @ np.array([1, 1 << 5, 1 << 10])
    for index in reversed(range(len(bits))):
        entry[bits[index]] = index
    return palette, entry
