"""Sampling of captions with randomness that belongs to the row: temperature, top-p, then Gumbel-max.

Adding Gumbel noise to log-probabilities and taking the largest is sampling from them. The noise of a token is a hash
of (row's seed, position, token id), so it depends on no neighbour, needs no generator state, is the same on every
device, and two conditions that share a seed share it: their captions differ only where their models do.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX1 = 0xBF58476D1CE4E5B9
_MIX2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift(x: Tensor, bits: int) -> Tensor:
    # Logical right shift: int64 tensors shift arithmetically.
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def hashed_uniform(seeds: Tensor, position: int, ids: Tensor) -> Tensor:
    """Uniforms in (0, 1) from SplitMix64 of (seed, position, id): float64 of the broadcast shape.

    Args:
        seeds: int64, the bits of the rows' seeds, shape (n, 1).
        position: index of the token in the caption.
        ids: int64 token ids, shape (n, k) or (k,).
    """
    x = seeds + _signed(_GOLDEN * (position + 1))
    for _ in range(2):  # once over (seed, position), once more with the token
        x = (x ^ _shift(x, 30)) * _signed(_MIX1)
        x = (x ^ _shift(x, 27)) * _signed(_MIX2)
        x = x ^ _shift(x, 31)
        x = x + ids * _signed(_GOLDEN)
    x = (x ^ _shift(x, 30)) * _signed(_MIX1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX2)
    x = x ^ _shift(x, 31)
    return (_shift(x, 12).double() + 0.5) * 2.0**-52


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Logits with everything outside the nucleus at −∞: the fewest likeliest tokens whose probability reaches top_p."""
    ordered, order = logits.sort(dim=-1, descending=True)
    probability = ordered.softmax(dim=-1)
    before = probability.cumsum(dim=-1) - probability
    ordered = ordered.masked_fill(before >= top_p, -torch.inf)
    return torch.empty_like(logits).scatter_(-1, order, ordered)


class RowSampler(LogitsProcessor):
    """Turns greedy decoding into sampling, each row with its own seed."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        self.seeds = torch.tensor([_signed(s) for s in seeds], dtype=torch.int64).unsqueeze(1)
        self.temperature, self.top_p = temperature, top_p
        self.first: int | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (n, vocabulary) with the rows' noise added; the largest is the sampled token."""
        if self.first is None:
            self.first = input_ids.shape[1]
        logits = scores.float() / self.temperature
        if self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        ids = torch.arange(scores.shape[1], device=scores.device)
        u = hashed_uniform(self.seeds.to(scores.device), input_ids.shape[1] - self.first, ids)
        return logits - torch.log(-torch.log(u)).to(logits.dtype)
