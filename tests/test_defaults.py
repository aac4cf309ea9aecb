"""Default rates and batches: the study's for Pythia, our own grids' for the small suite."""

from dataclasses import replace

import pytest

from toolkit.decoders import find
from toolkit.methods import METHODS
from toolkit.methods.lora import default_rank
from toolkit.training.defaults import batch_pairs

# Camera-ready of the study: full fine-tuning and block freezing.
STUDY = {
    "14m": 1e-4, "31m": 1e-4, "70m": 1e-4, "160m": 6e-5, "410m": 3e-5, "1b": 3e-5, "1.4b": 2e-5,
    "2.8b": 1.6e-5,
}  # fmt: skip


@pytest.mark.parametrize("size", STUDY)
def test_pythias_rates_are_the_studys(size):
    decoder = find(f"pythia-{size}")
    for method in ("full", "freeze"):
        assert METHODS[method].learning_rate(decoder) == pytest.approx(STUDY[size])
    for method in ("lora", "bias"):
        assert METHODS[method].learning_rate(decoder) == 1e-3


def test_a_cut_decoder_takes_the_rates_of_its_family():
    assert METHODS["full"].learning_rate(find("pythia-160m@4")) == pytest.approx(6e-5)
    whole, cut = find("small-38k"), find("small-38k@2")
    assert METHODS["bias"].learning_rate(cut) == METHODS["bias"].learning_rate(whole)
    assert batch_pairs(cut, 1e12) < 1024


def test_a_real_decoder_is_given_a_batch_that_its_study_bears_out():
    tried = {(1, 2e12): 16, (1, 1e13): 64, (2, 1e13): 32, (2, 3e13): 64}
    for (blocks, flop), batch in tried.items():
        assert batch_pairs(find(f"smollm2-135m@{blocks}"), flop) == batch
    decoder = find("smollm2-135m@4")
    steps = 1.5e15 / (6 * decoder.params * 95) / batch_pairs(decoder, 1.5e15)
    assert steps > 500


def test_only_pythia_has_the_studys_batch_whatever_the_budget():
    own = replace(find("smollm2-135m"), name="own", family="")
    assert batch_pairs(find("pythia-160m"), 1e13) == 1024
    assert [batch_pairs(own, flop) for flop in (1e14, 1e15, 1e16, 1e20)] == [32, 64, 256, 1024]


def test_the_default_rank_fits_the_narrowest_layer():
    assert default_rank(find("pythia-70m").shape) == 32
    assert default_rank(find("smollm2-135m").shape) == 32
    from tests.families import config_of
    from toolkit.decoders import config_shape

    assert default_rank(config_shape(config_of("falcon"), "falcon")) == 16
    assert default_rank(config_shape(config_of("qwen2"), "qwen2")) == 16
