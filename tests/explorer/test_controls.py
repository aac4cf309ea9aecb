import pytest

from toolkit import hardware
from toolkit.explorer import controls
from toolkit.explorer.alerts import Alerts
from toolkit.explorer.controls import CPU, STEP, BudgetControl, LogControl


@pytest.fixture
def alerts():
    kept = Alerts()
    yield kept
    kept.check()


def test_slider_and_twin_always_say_the_same(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    control.slider.value = 2e6
    assert (control.value, control.twin.value) == (2e6, "2M")
    control.twin.value = "30k"
    assert control.value == control.slider.value == 30_000
    control.set(5e5)
    assert (control.value, control.slider.value, control.twin.value) == (5e5, 5e5, "500k")


def test_a_number_off_the_slider_holds_and_the_slider_stands_at_its_end(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    control.twin.value = "3B"
    assert (control.value, control.slider.value) == (3e9, 1e8)


def test_the_browsers_rounding_to_a_step_does_not_change_what_was_typed(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    control.twin.value = "3e5"
    control.slider.value = 3e5 * 10 ** (0.5 * STEP)
    assert control.value == 3e5
    control.slider.value = 3e5 * 10**STEP
    assert control.value == pytest.approx(3e5 * 10**STEP)


def test_what_is_no_number_is_said_and_changes_nothing(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    control.twin.value = "<b>many</b>"
    assert "not a positive number" in alerts.widget.value and "<b>" not in alerts.widget.value
    assert (control.value, control.twin.value) == (1e4, "10k")
    control.twin.value = "20k"
    assert alerts.widget.value == ""


def test_an_optional_number_is_none_until_switched_on_and_remembered(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts, optional=True)
    assert control.value is None and control.slider.disabled and control.twin.disabled
    control.switch.value = True
    assert control.value == 1e4 and not control.slider.disabled
    control.twin.value = "50k"
    control.switch.value = False
    assert control.value is None
    control.switch.value = True
    assert control.value == 5e4


def test_new_ends_keep_the_number_between_them(alerts):
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    control.reach(1e9, 1e12)
    assert control.value == 1e9
    control.reach(10, 1e3)
    assert control.value == 1e3
    assert (control.slider.min, control.slider.max) == (1, 3)


def test_what_is_set_quietly_calls_nobody_back_and_all_else_does(alerts):
    called = []
    control = LogControl("pairs", 1e2, 1e8, 1e4, alerts)
    alerts.observe(control, lambda: called.append(control.value))
    with alerts.quiet():
        with alerts.quiet():
            control.set(2e4)
        control.set(3e4)
    assert not called and control.slider.value == 3e4 and control.twin.value == "30k"
    with pytest.raises(ValueError), alerts.quiet():
        raise ValueError
    control.set(4e4)
    assert called == [4e4]


@pytest.fixture
def budget(alerts):
    return BudgetControl(1e10, 1e20, 1e13, alerts)


def test_the_budget_is_typed_in_flop_or_in_hours_on_a_device(budget):
    budget.flop.twin.value = "3×10¹²"
    assert budget.flop.value == 3e12
    budget.unit.value = "h100"
    assert budget.flop.value == 3e12
    budget.flop.twin.value = "2"
    assert budget.flop.value == pytest.approx(hardware.find("h100").flop(2, 0.4))
    assert "2 hours on one h100 at 40%" in budget.in_words
    budget.unit.value = ""
    assert budget.flop.twin.value == "2.85×10¹⁸"


def test_the_slider_moves_the_hours_as_well(budget):
    budget.unit.value = "a100"
    budget.flop.slider.value = 1e18
    hours = hardware.find("a100").hours(1e18, 0.4)
    assert float(budget.flop.twin.value) == pytest.approx(hours, rel=0.005)


def test_at_another_utilisation_the_hours_stay_and_the_flop_change(budget):
    budget.unit.value = "h100"
    budget.flop.twin.value = "2"
    budget.utilisation_twin.value = 0.2
    assert budget.utilisation.value == 0.2
    assert budget.flop.twin.value == "2"
    assert budget.flop.value == pytest.approx(hardware.find("h100").flop(2, 0.2))


def test_utilisation_keeps_its_place_where_it_means_nothing(budget):
    assert budget.share.layout.visibility == "hidden"
    budget.unit.value = "l4"
    assert budget.share.layout.visibility == "visible"
    budget.utilisation.value = 0.1
    assert "10%" in budget.in_words


def test_this_cpu_is_measured_when_it_is_chosen(budget, monkeypatch):
    asked = []
    monkeypatch.setattr(
        controls.hardware, "measure_cpu_matmul_rate", lambda: asked.append(1) or 1e11
    )
    assert not asked
    budget.unit.value = CPU
    budget.flop.twin.value = "1"
    assert asked and budget.flop.value == pytest.approx(3600 * 1e11 * 0.4)
    assert "CPU" in budget.in_words


def test_every_device_of_the_toolkit_is_offered(budget):
    assert set(budget.unit.options.values()) == {"", CPU, *hardware.DEVICES}
