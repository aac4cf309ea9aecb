"""Private doors of other libraries still lead where they are taken to lead."""

import torch
from transformers import GPTNeoXConfig, GPTNeoXModel

from toolkit.doors import DispatchMode, attending, leaves, softmax_backward


def test_attention_changes_for_a_while_and_is_the_one_that_runs():
    config = GPTNeoXConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=32
    )
    model = GPTNeoXModel(config).eval()
    seen = []

    class Watch(DispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            seen.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    def attended(how):
        seen.clear()
        with attending(model, how), Watch(), torch.no_grad():
            model(input_ids=torch.arange(5)[None], use_cache=False)
        return any("scaled_dot_product" in name for name in seen), "_softmax" in seen

    before = model.config._attn_implementation
    assert attended("eager") == (False, True)
    assert attended("sdpa") == (True, False)
    assert model.config._attn_implementation == before


def test_attention_comes_back_after_an_error():
    model = GPTNeoXModel(GPTNeoXConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1))
    before = model.config._attn_implementation
    try:
        with attending(model, "eager"):
            raise RuntimeError
    except RuntimeError:
        assert model.config._attn_implementation == before


def test_the_gradient_through_a_softmax_is_autograd_s():
    scores = torch.randn(3, 4, 5, dtype=torch.float64, requires_grad=True)
    weights = scores.softmax(-1)
    gradient = torch.randn_like(weights)
    (expected,) = torch.autograd.grad(weights, scores, gradient)
    torch.testing.assert_close(softmax_backward(gradient, weights.detach()), expected)


def test_leaves_of_nested_arguments_are_all_there():
    assert leaves(({"a": 1}, [2, (3,)])) == [1, 2, 3]
