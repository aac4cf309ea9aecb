"""The explorer: move a budget and see the recipe, with widgets in a notebook or without a kernel.

`explore()` in JupyterLab; `toolkit.explorer.page` writes the page that needs no kernel.
"""

from toolkit.explorer.alerts import Alerts, widget_errors
from toolkit.explorer.app import Explorer, explore, find_sweeps
from toolkit.explorer.neighbours import neighbours as compare_neighbours

__all__ = ["Alerts", "Explorer", "compare_neighbours", "explore", "find_sweeps", "widget_errors"]
