"""A scene that is redrawn quickly: its few moving artists over a picture of everything else.

Drawing a whole Matplotlib figure takes a tenth of a second or more, drawing a line or two a few
milliseconds. So whatever a slider does not change is drawn once, and what follows the slider is a
layer of its own, on a transparent ground, which a browser lays over it.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from toolkit.figures import style
from toolkit.figures.scene import Scene

PIXELS = 1.5  # Drawn with so many pixels for each pixel on a plain screen.
CSS_DPI = 100


class Drawing:
    """A scene as two layers of pixels.

    Args:
        scene: The size of its figure in inches times 100 is its size on the screen.
    """

    def __init__(self, scene: Scene[Any]) -> None:
        self.figure, self.artists = scene.figure, scene.moving
        self.figure.set_dpi(CSS_DPI * PIXELS)
        self.canvas = FigureCanvasAgg(self.figure)
        for artist in self.artists:
            artist.set_animated(True)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the screen."""
        width, height = self.figure.get_size_inches() * CSS_DPI
        return round(width), round(height)

    def still(self) -> bytes:
        """A PNG of all that does not move: before any of `moving`, and where it has changed."""
        with style():  # Ticks are made while they are drawn.
            self.canvas.draw()
        return _png(self._pixels().convert("RGB"))

    def moving(self, *, small: bool = False) -> bytes:
        """A PNG of what moves, as it is now, on a transparent ground.

        Args:
            small: With at most 64 colours: takes longer, for files that hold many.
        """
        self.canvas.get_renderer().clear()
        for artist in self.artists:
            if artist.get_visible():
                self.figure.draw_artist(artist)
        pixels = self._pixels()
        if small:
            return _png(pixels.quantize(64, Image.Quantize.FASTOCTREE))
        return _png(pixels, level=1)

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

    def _pixels(self) -> Image.Image:
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba()))


def _png(picture: Image.Image, level: int = 6) -> bytes:
    out = io.BytesIO()
    picture.save(out, "png", compress_level=level)
    return out.getvalue()
