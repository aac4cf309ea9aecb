import io

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from toolkit.explorer.drawing import PIXELS, Drawing
from toolkit.figures import COLOURS


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


@pytest.fixture
def drawing():
    figure = Figure(figsize=(4, 3))
    ax = figure.add_axes((0.1, 0.1, 0.8, 0.8))
    ax.plot([0, 1], [0, 1], color=COLOURS["full"])
    ax.fill_between([0, 1], 0, [0, 0.5], color="#e9e9e9")
    (star,) = ax.plot([0.2], [0.8], "o", ms=20, color=COLOURS["lora"])
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return Drawing(figure, [star], list(COLOURS.values()))


def test_the_picture_is_what_matplotlib_itself_would_draw(drawing):
    (star,) = drawing.moving
    drawing.png()
    star.set_data([0.7], [0.3])
    fast = pixels(drawing.png())
    star.set_animated(False)
    FigureCanvasAgg(drawing.figure).draw()
    slow = np.asarray(drawing.figure.canvas.buffer_rgba())[..., :3].astype(int)
    assert fast.shape == slow.shape == (3 * 100 * PIXELS, 4 * 100 * PIXELS, 3)
    assert np.abs(fast - slow).max(axis=-1).mean() < 0.5
    assert (np.abs(fast - slow).max(axis=-1) > 12).mean() < 0.002


def test_nothing_of_an_earlier_picture_remains(drawing):
    (star,) = drawing.moving
    first = drawing.png()
    star.set_data([0.7], [0.3])
    assert drawing.png() != first
    star.set_data([0.2], [0.8])
    assert drawing.png() == first


def test_colours_that_a_moving_artist_takes_on_later_are_exact(drawing):
    (star,) = drawing.moving
    drawing.png()
    for colour in COLOURS.values():
        star.set_color(colour)
        seen = pixels(drawing.png())
        centre = seen[round(0.26 * seen.shape[0]), round(0.26 * seen.shape[1])]
        assert tuple(centre) == tuple(round(255 * c) for c in to_rgb(colour))


def test_the_still_and_the_moving_layer_make_the_picture(drawing):
    whole = pixels(drawing.png())
    moving = Image.open(io.BytesIO(drawing.moving_png())).convert("RGBA")
    laid = Image.open(io.BytesIO(drawing.still_png())).convert("RGBA")
    laid.alpha_composite(moving)
    assert np.abs(np.asarray(laid)[..., :3] - whole).max(axis=-1).mean() < 0.5
    assert len(drawing.moving_png()) < len(drawing.still_png())


def test_a_click_finds_the_nearest_point_or_none(drawing):
    ax = drawing.figure.axes[0]
    points = [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)]
    assert drawing.nearest(ax, points, 0.5, 0.5) == 1
    assert drawing.nearest(ax, points, 0.1, 0.9) == 0
    assert drawing.nearest(ax, points, 0.51, 0.49) == 1
    assert drawing.nearest(ax, points, 0.7, 0.5) is None
    assert drawing.nearest(ax, [], 0.5, 0.5) is None


def test_a_hidden_artist_is_not_drawn(drawing):
    (star,) = drawing.moving
    star.set_visible(False)
    assert (
        not (pixels(drawing.png()) == [round(255 * c) for c in to_rgb(COLOURS["lora"])])
        .all(axis=-1)
        .any()
    )
