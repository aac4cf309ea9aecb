"""FLOP and hours turn into each other; devices are found by any usual spelling."""

import pytest

from toolkit import hardware
from toolkit.errors import ToolkitError


def test_hours_and_flop_are_each_others_inverse():
    device = hardware.find("H100")
    assert device.hours(device.flop(2.5, 0.3), 0.3) == pytest.approx(2.5, rel=1e-12)


def test_an_hour_of_an_a100_at_half_its_peak():
    assert hardware.find("a100").flop(1.0, 0.5) == pytest.approx(3600 * 156e12)


@pytest.mark.parametrize("name", ["rtx-4090", "RTX 4090", "rtx_4090", "4090", "NVIDIA RTX 4090"])
def test_a_device_is_found_in_any_usual_spelling(name):
    assert hardware.find(name).name == "rtx-4090"


def test_an_unknown_device_names_the_nearest():
    with pytest.raises(ToolkitError, match="did you mean h100"):
        hardware.find("h1000")


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_utilisation_that_is_no_share_is_refused(share):
    with pytest.raises(ToolkitError, match="share of the peak"):
        hardware.find("l4").hours(1e15, share)


def test_every_device_states_its_source():
    assert all(device.source.startswith("NVIDIA") for device in hardware.DEVICES.values())
    assert set(hardware.DEVICES) == {"a100", "h100", "h200", "l4", "rtx-4090"}


def test_visible_gpus_follow_the_variable_that_cuda_follows(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert hardware.visible_gpus() == ("2", "3")
    for nothing in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        assert hardware.visible_gpus() == ()


def test_the_measured_matmul_rate_is_that_of_a_computer():
    assert 1e8 < hardware.measure_cpu_matmul_rate(256, 3) < 1e15
