"""Attention over windows: causal or bidirectional, by plain products or by torch's kernels."""

import numpy as np
import pytest
import torch

from tests.tiny import texts
from toolkit.contrast import attention
from toolkit.contrast.attention import attend, lay_out

HEADS, SIZE = 2, 4


def plain(mixed: torch.Tensor, lengths: np.ndarray, *, causal: bool) -> torch.Tensor:
    """Each text by itself, by the formula."""
    parts = []
    for x in mixed.split(lengths.tolist()):
        query, key, value = x.view(len(x), HEADS, 3, SIZE).permute(2, 1, 0, 3)
        scores = query @ key.mT / SIZE**0.5
        if causal:
            later = torch.ones(len(x), len(x)).triu(1).bool()
            scores = scores.masked_fill(later, -torch.inf)
        parts.append((scores.softmax(-1) @ value).transpose(0, 1).flatten(1))
    return torch.cat(parts)


@pytest.mark.parametrize("longest_explicit", [256, 0], ids=["products", "kernels"])
@pytest.mark.parametrize("causal", [True, False])
def test_each_text_attends_to_itself_alone(monkeypatch, causal, longest_explicit):
    monkeypatch.setattr(attention, "LONGEST_EXPLICIT", longest_explicit)
    lengths = np.sort(texts(7, 1, 21).lengths)
    generator = torch.Generator().manual_seed(0)
    shape = int(lengths.sum()), 3 * HEADS * SIZE
    mixed = torch.randn(shape, generator=generator, dtype=torch.double).requires_grad_()
    windows = -(-lengths // 16) * 16
    layout = lay_out(np.zeros(shape[0], np.int64), lengths, windows, mixed)
    ours = attend(mixed, layout, HEADS, SIZE**-0.5, causal=causal)
    expected = plain(mixed, lengths, causal=causal)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn(ours.shape, generator=generator, dtype=torch.double)
    gradients = [torch.autograd.grad((x * weights).sum(), mixed)[0] for x in (ours, expected)]
    torch.testing.assert_close(*gradients)
