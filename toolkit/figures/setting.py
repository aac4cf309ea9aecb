"""Loss against one setting of a method, LoRA's rank before all (the poster's Figure 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from toolkit.figures.style import LOSS, RING, budget_colours, budget_legend, outer_labels, panels
from toolkit.study import Study
from toolkit.wording import SETTING_NAMES, count


def loss_by_setting_panels(study: Study, method: str, setting: str) -> Figure:
    """Loss against a setting of a method, a panel a size and a line a budget (poster, Figure 5).

    The best value on each line is ringed. Seeds are averaged; where other settings vary as well,
    the best of them counts.
    """
    table = setting_losses(study, method, setting)
    sizes = sorted(table["params"].unique())
    shades = budget_colours(sorted(table["budget_flop"].unique()))
    figure, axes = panels(len(sizes), width=2.9, height=2.6, most=4)
    for ax, size in zip(axes, sizes, strict=True):
        rows = table[table["params"] == size]
        loss_by_setting(rows, setting, ax, title=_size_name(study, size), colours=shades)
    outer_labels(axes)
    budget_legend(figure, shades, loc="outside right upper")
    return figure


def setting_losses(study: Study, method: str, setting: str) -> pd.DataFrame:
    """params, budget_flop, the setting and the loss, where several of its values were tried."""
    cell = ["params", "budget_flop"]
    rows = study.runs[study.runs["method"] == method].dropna(subset=[setting])
    others = [n for n in SETTING_NAMES if n != setting and n in rows.columns]
    mean = rows.groupby([*cell, setting, *others], dropna=False)["loss"].mean()
    best = mean.groupby(level=[*cell, setting]).min().reset_index()
    return best[best.groupby(cell)[setting].transform("nunique") > 1]


def loss_by_setting(
    table: pd.DataFrame, setting: str, ax: Axes, *, title: str, colours: Mapping[float, Any]
) -> Axes:
    """One panel of `loss_by_setting_panels`: the rows of one size from `setting_losses`."""
    for budget in sorted(table["budget_flop"].unique()):
        rows = table[table["budget_flop"] == budget].sort_values(setting)
        values, losses = rows[setting].to_numpy(), rows["loss"].to_numpy()
        ax.plot(values, losses, "o-", color=colours[budget], ms=4.5, lw=1.6)
        ax.plot(values[losses.argmin()], losses.min(), "o", ms=10, **RING)
    if setting == "trained_blocks":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        ax.set_xscale("log", base=2 if setting == "lora_rank" else 10)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_xticks(sorted(table[setting].unique()))
        ax.xaxis.set_minor_locator(NullLocator())
    ax.set(xlabel=SETTING_NAMES[setting], ylabel=LOSS, title=title)
    return ax


def _size_name(study: Study, params: float) -> str:
    rows = study.runs[study.runs["params"] == params]
    name = str(rows["decoder"].iloc[0]) if "decoder" in rows.columns else ""
    return name.rsplit("/", 1)[-1] or count(params)
