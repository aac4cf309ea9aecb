import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image

from toolkit.explorer.drawing import PIXELS, Drawing
from toolkit.figures import COLOURS
from toolkit.figures.scene import Scene


def pixels(still: bytes, moving: bytes) -> np.ndarray:
    """What a browser shows: one layer over the other."""
    laid, over = (Image.open(io.BytesIO(png)).convert("RGBA") for png in (still, moving))
    laid.alpha_composite(over)
    return np.asarray(laid)[..., :3].astype(int)


@pytest.fixture
def star():
    return Line2D([0.2], [0.8], ls="", marker="o", ms=20, color=COLOURS["lora"])


@pytest.fixture
def drawing(star):
    figure = Figure(figsize=(4, 3))
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    ax.plot([0, 1], [0, 1], color=COLOURS["full"])
    ax.fill_between([0, 1], 0, [0, 0.5], color="#e9e9e9")
    ax.add_line(star)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return Drawing(Scene(figure, [star]))


@pytest.mark.parametrize("small", [False, True])
def test_the_layers_make_what_matplotlib_itself_would_draw(drawing, star, small):
    still = drawing.still()
    drawing.moving()
    star.set_data([0.7], [0.3])
    fast = pixels(still, drawing.moving(small=small))
    star.set_animated(False)
    FigureCanvasAgg(drawing.figure).draw()
    slow = np.asarray(drawing.figure.canvas.buffer_rgba())[..., :3].astype(int)
    assert fast.shape == slow.shape == (3 * 100 * PIXELS, 4 * 100 * PIXELS, 3)
    assert np.abs(fast - slow).max(axis=-1).mean() < 0.5
    assert (np.abs(fast - slow).max(axis=-1) > 12).mean() < 0.002


def test_nothing_of_an_earlier_picture_remains(drawing, star):
    still = drawing.still()
    first = drawing.moving()
    star.set_data([0.7], [0.3])
    assert drawing.moving() != first
    star.set_data([0.2], [0.8])
    assert drawing.moving() == first and drawing.still() == still


def test_colours_that_a_moving_artist_takes_on_are_exact(drawing, star):
    still = drawing.still()
    for colour in COLOURS.values():
        star.set_color(colour)
        seen = pixels(still, drawing.moving())
        centre = seen[round(0.26 * seen.shape[0]), round(0.26 * seen.shape[1])]
        assert tuple(centre) == tuple(round(255 * c) for c in to_rgb(colour))


def test_what_moves_is_a_fraction_of_the_picture(drawing):
    assert len(drawing.moving(small=True)) < len(drawing.moving()) < len(drawing.still())


def test_a_hidden_artist_is_not_drawn(drawing, star):
    drawing.still()
    star.set_visible(False)
    assert not np.asarray(Image.open(io.BytesIO(drawing.moving())))[..., 3].any()


def test_a_click_finds_the_nearest_point_or_none(drawing):
    drawing.still()
    ax = drawing.figure.axes[0]
    points = [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]
    assert drawing.nearest(ax, points, 0.5, 0.5) == 1
    assert drawing.nearest(ax, points, 0.1, 0.9) == 0
    assert drawing.nearest(ax, points, 0.51, 0.49) == 1
    assert drawing.nearest(ax, points, 0.7, 0.5) is None
    assert drawing.nearest(ax, [], 0.5, 0.5) is None
