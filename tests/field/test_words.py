"""What people type, understood or answered with what they meant."""

import pytest

from toolkit import cli
from toolkit.errors import ToolkitError
from toolkit.hardware import find


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("h100 sxm", "h100"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("a100-pcie-40gb", "a100"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        ("NVIDIA L4", "l4"),
        ("H200_141GB", "h200"),
    ],
)
def test_a_gpu_is_known_by_its_full_name(name, device):
    assert find(name).name == device


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("h", "did you mean h100 or h200?"),
        ("a1", "did you mean a100?"),
        ("NVIDIA H100 PCIe", "did you mean h100?"),
        ("RTX 4090 Laptop", "did you mean rtx-4090?"),
        ("potato", "known: a100, h100, h200, l4, rtx-4090"),
    ],
)
def test_a_gpu_that_is_not_known_is_answered_with_those_it_may_be(name, words):
    with pytest.raises(ToolkitError) as caught:
        find(name)
    assert str(caught.value).endswith(words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sweep", "s", "--workers", "x"], "must be a whole number from 1, not 'x'"),
        (["sweep", "s", "--workers", "0"], "must be a whole number from 1, not '0'"),
        (["sweep", "s", "--timeout", "-1"], "must be a positive number, not '-1'"),
        (["sweep", "s", "--resources", "GPU"], "must read GPU=1"),
        (["plan", "s", "--workers", "1.5"], "must be a whole number from 1"),
        (["plan", "s", "--utilisation", "nan"], "must be a positive number"),
        (["flops", "small-3k", "--pairs", "0"], "must be a whole number from 1"),
        (["flops", "small-3k", "--rank", "x"], "must be a whole number from 1"),
    ],
)
def test_a_number_that_is_none_is_answered_in_words(capsys, arguments, words):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 2 and words in said and "_positive" not in said
