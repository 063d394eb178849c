"""Sampling with the row's own randomness: the right distribution, and no dependence on neighbours."""

from __future__ import annotations

import numpy as np
import torch
from scipy import stats

from loopsim.models.sampling import RowSampler, hashed_uniform, keep_top_p


def draws(logits, n, temperature=1.0, top_p=1.0):
    sampler = RowSampler(list(range(n)), temperature, top_p)
    scores = torch.tensor(logits).repeat(n, 1)
    return sampler(torch.zeros(n, 1, dtype=torch.int64), scores).argmax(dim=1).numpy()


def test_uniforms_are_uniform_and_uncorrelated():
    u = hashed_uniform(torch.arange(400).unsqueeze(1), 0, torch.arange(50)).numpy()
    assert stats.kstest(u.ravel(), "uniform").pvalue > 0.001
    assert abs(np.corrcoef(u[:, 0], u[:, 1])[0, 1]) < 0.2
    assert abs(np.corrcoef(u[:-1, 0], u[1:, 0])[0, 1]) < 0.2
    again = hashed_uniform(torch.arange(400).unsqueeze(1), 1, torch.arange(50)).numpy()
    assert abs(np.corrcoef(u.ravel(), again.ravel())[0, 1]) < 0.03
    assert u.min() > 0
    assert u.max() < 1


def test_samples_follow_the_softmax_at_the_temperature():
    logits = np.array([2.0, 1.0, 0.0, -1.0])
    for temperature in (0.5, 1.0, 2.0):
        p = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
        counts = np.bincount(draws(logits, 20_000, temperature), minlength=4)
        assert stats.chisquare(counts, p * counts.sum()).pvalue > 0.001


def test_top_p_keeps_the_fewest_likeliest_tokens_that_reach_it():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    kept = torch.isfinite(keep_top_p(logits, 0.75))
    assert kept.tolist() == [[True, True, False, False]]
    assert torch.isfinite(keep_top_p(logits, 0.01)).tolist() == [[True, False, False, False]]
    assert set(draws(np.log([0.5, 0.3, 0.15, 0.05]), 2000, top_p=0.75)) == {0, 1}


def test_a_row_is_the_same_alone_and_among_others():
    scores = torch.randn(5, 30)
    ids = torch.zeros(5, 1, dtype=torch.int64)
    seeds = [3, 2**64 - 1, 0, 77, 2**63]
    together = RowSampler(seeds, 0.8, 0.9)(ids, scores)
    for i in range(5):
        alone = RowSampler(seeds[i : i + 1], 0.8, 0.9)(ids[:1], scores[i : i + 1])
        torch.testing.assert_close(alone[0], together[i])


def test_the_noise_moves_on_with_the_position_counted_from_the_first_new_token():
    sampler, scores = RowSampler([1], 1.0, 1.0), torch.zeros(1, 10)
    first, second = (sampler(torch.zeros(1, n, dtype=torch.int64), scores) for n in (4, 5))
    assert not torch.equal(first, second)
    other = RowSampler([1], 1.0, 1.0)(torch.zeros(1, 9, dtype=torch.int64), scores)
    torch.testing.assert_close(first, other)
