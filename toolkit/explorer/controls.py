"""Controls: every slider has a numeric twin, and both always say the same."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
import traitlets

from toolkit import hardware
from toolkit.explorer.alerts import Alerts
from toolkit.text import count, read_number, scientific

LABEL = widgets.Layout(width="110px", flex="0 0 auto")
SLIDER = widgets.Layout(width="300px", flex="1 1 180px", max_width="420px")
TWIN = widgets.Layout(width="92px", flex="0 0 auto")
STEP = 0.02  # Of a slider, in powers of ten: one press of an arrow key is 5 %.
CPU = "this CPU, measured"


def paired(label: str, slider: Any, twin: Any, *, width: str = "110px") -> widgets.HBox:
    """A slider and its numeric twin, which from now on say the same, in a row."""
    widgets.link((slider, "value"), (twin, "value"))
    name = widgets.Label(label, layout=widgets.Layout(width=width, flex="0 0 auto"))
    return widgets.HBox([name, slider, twin])


class LogControl(traitlets.HasTraits):
    """A positive number on a log scale: slider and text field, and a switch where it is optional.

    Attributes:
        value: The number; None while switched off. `number` is kept all the while.
        slider, twin, switch: Its parts; `switch` is None where the number is not optional.
        widget: All of them in a row.
    """

    value = traitlets.Float(allow_none=True)

    def __init__(
        self,
        label: str,
        low: float,
        high: float,
        value: float,
        alerts: Alerts,
        *,
        show: Callable[[float], str] = count,
        read: Callable[[str], float] = read_number,
        optional: bool = False,
    ) -> None:
        super().__init__()
        self.show, self.read, self.alerts = show, read, alerts
        self.number = value
        name: widgets.Widget = widgets.Label(label, layout=LABEL)
        self.switch: widgets.Checkbox | None = None
        if optional:
            box = widgets.Checkbox(False, description=label, indent=False, layout=LABEL)
            self.switch = name = box
            alerts.observe(box, lambda: self.set(self.number))
        self.slider = widgets.FloatLogSlider(
            value, min=math.log10(low), max=math.log10(high), step=STEP, readout=False,
            layout=SLIDER, tooltip=label,
        )  # fmt: skip
        self.twin = widgets.Text(continuous_update=False, layout=TWIN, tooltip=label)
        self.widget = widgets.HBox([name, self.slider, self.twin])
        alerts.observe(self.slider, self._slide)
        alerts.observe(self.twin, self._type)
        self.set(value)

    def reach(self, low: float, high: float) -> None:
        """Let the slider go from `low` to `high`; the value is kept if it lies between."""
        with self.alerts.quiet():  # In an order in which the slider's ends never cross.
            self.slider.max = max(self.slider.max, math.log10(high))
            self.slider.min, self.slider.max = math.log10(low), math.log10(high)
        self.set(min(max(self.number, low), high))

    def _slide(self) -> None:
        # The browser moves the handle to the nearest step and reports that: it is no wish.
        if abs(math.log10(self.slider.value / self.number)) >= 0.6 * STEP:
            self.set(self.slider.value)

    def _type(self) -> None:
        try:
            self.set(self.read(self.twin.value))
        except Exception:
            self.set(self.number)  # The field says again what holds.
            raise

    def set(self, number: float) -> None:
        """Move everything to a number; to the same one after `show` has changed its meaning."""
        with self.alerts.quiet():
            self.number = number
            low, high = 10**self.slider.min, 10**self.slider.max
            self.slider.value = min(max(number, low), high)
            self.twin.value = self.show(number)
            off = self.switch is not None and not self.switch.value
            self.slider.disabled = self.twin.disabled = off
        self.value = None if off else number


class CountControl:
    """A whole number.

    Attributes:
        slider, twin: Its parts; `widget` is both in a row.
    """

    def __init__(self, label: str, *, least: int = 0) -> None:
        ends: dict[str, Any] = {"value": least, "min": least, "max": least, "tooltip": label}
        layout = widgets.Layout(width="105px")
        self.slider = widgets.IntSlider(**ends, readout=False, layout=layout)
        self.twin = widgets.BoundedIntText(**ends, layout=widgets.Layout(width="60px"))
        self.widget = paired(label, self.slider, self.twin, width="140px")

    @property
    def value(self) -> int:
        return int(self.slider.value)

    def reach(self, least: int, most: int) -> None:
        """Set the ends and go back to the least."""
        for part in (self.twin, self.slider):
            part.value = least
            part.max = max(most, least)


class BudgetControl:
    """The budget, in FLOP or as hours on a device at a stated utilisation.

    Attributes:
        flop: The budget's `LogControl`; its value is in FLOP whatever the unit is.
        unit: FLOP, or a device; `utilisation` with its twin holds for devices.
        widget: Budget and unit in a row; `share` is that of the utilisation.
    """

    def __init__(self, low: float, high: float, value: float, alerts: Alerts) -> None:
        names = {f"hours on one {name.upper()}": name for name in hardware.DEVICES}
        self.unit = widgets.Dropdown(
            options={"FLOP": "", **names, f"hours on {CPU}": CPU}, value="",
            layout=widgets.Layout(width="200px", flex="0 0 auto"), tooltip="unit of the budget",
        )  # fmt: skip
        start = hardware.DEFAULT_UTILISATION
        self.utilisation = widgets.FloatSlider(
            start, min=0.01, max=1, step=0.01, readout=False, layout=SLIDER, tooltip="utilisation"
        )
        self.utilisation_twin = widgets.BoundedFloatText(
            start, min=0.01, max=1, step=0.01, layout=TWIN, tooltip="utilisation"
        )
        self.flop = LogControl("budget", low, high, value, alerts, show=self._show, read=self._read)
        self.share = paired("utilisation", self.utilisation, self.utilisation_twin)
        self.share.layout.visibility = "hidden"  # It keeps its place: the height is constant.
        self.widget = widgets.HBox([self.flop.widget, self.unit])
        alerts.observe(self.unit, self._choose)
        alerts.observe(self.utilisation, self._keep_hours)

    @property
    def in_words(self) -> str:
        """What the budget is, in the unit chosen and in FLOP."""
        flop = self.flop.number
        device = self._device()
        said = f"{scientific(flop, 3)} FLOP"
        if device is None:
            return said
        share = self.utilisation.value
        hours = device.hours(flop, share)
        return f"{hours:.3g} hours on one {device.name} at {share:.0%} of its peak, {said}"

    def _choose(self) -> None:
        self.share.layout.visibility = "visible" if self.unit.value else "hidden"
        self.flop.set(self.flop.number)

    def _keep_hours(self) -> None:
        """At another utilisation the hours stay as they are: it is the FLOP that change."""
        if self.unit.value:
            self.flop.set(self._read(self.flop.twin.value))

    def _device(self) -> hardware.Device | None:
        if not self.unit.value:
            return None
        if self.unit.value == CPU:
            rate = hardware.measure_cpu_matmul_rate()
            return hardware.Device("CPU", rate, "a float32 matrix product timed on this machine")
        return hardware.find(self.unit.value)

    def _show(self, flop: float) -> str:
        device = self._device()
        if device is None:
            return scientific(flop, 3)
        return f"{device.hours(flop, self.utilisation.value):.3g}"

    def _read(self, text: str) -> float:
        device = self._device()
        number = read_number(text)
        return number if device is None else device.flop(number, self.utilisation.value)
