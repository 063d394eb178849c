"""Sampling with the row's own randomness: the right distribution, and no dependence on neighbours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from loopsim.models.sampling import RowSampler, hashed_uniform, keep_top_p, sample_all, sample_top_first


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
    scores = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
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


# ---- large vocabularies ----------------------------------------------------------------------------------------------


def large(weights, size=6000):
    """Logits of a large vocabulary whose last tokens have given weights and whose others share 1."""
    logits = torch.zeros(1, size)
    logits[0, -len(weights) :] = torch.tensor(weights).log() + np.log(size - len(weights))
    return logits


def counted(logits, n, top_p=1.0):
    """How often the rest and each of the last four tokens are drawn."""
    seeds = torch.arange(n).unsqueeze(1)
    chosen = sample_top_first(logits.repeat(n, 1), seeds, 3, top_p).numpy()
    last = logits.shape[1] - 4
    return np.bincount(np.maximum(chosen - last + 1, 0), minlength=5), chosen


def test_top_first_follows_the_whole_softmax_tail_included():
    counts, chosen = counted(large([1.0, 2.0, 3.0, 1.0]), 8000)
    assert stats.chisquare(counts, np.array([1, 1, 2, 3, 1]) / 8 * 8000).pvalue > 0.001
    tail = chosen[chosen < 5996]
    assert stats.kstest(tail / 5996, "uniform").pvalue > 0.001, "the rest is drawn from evenly, as it is even"


def test_top_first_draws_from_the_nucleus_only():
    counts, _ = counted(large([1.0, 2.0, 3.0, 1.0]), 8000, top_p=0.6)  # 3/8 and 2/8 reach it
    assert counts[0] == counts[1] == counts[4] == 0
    assert stats.chisquare(counts[2:4], np.array([2, 3]) / 5 * 8000).pvalue > 0.001


def test_a_nucleus_beyond_the_top_is_the_same_as_the_plain_one():
    logits = torch.randn(64, 6000, generator=torch.Generator().manual_seed(1)) * 0.1
    seeds = torch.arange(64).unsqueeze(1)
    for top_p in (0.5, 0.99):
        torch.testing.assert_close(
            sample_top_first(logits, seeds, 0, top_p), sample_all(logits, seeds, 0, top_p), rtol=0, atol=0
        )


def test_where_few_tokens_are_likely_both_ways_choose_the_same():
    logits = torch.randn(200, 6000, generator=torch.Generator().manual_seed(2)) * 8
    seeds = torch.arange(200).unsqueeze(1)
    for top_p in (1.0, 0.9):
        same = sample_top_first(logits, seeds, 5, top_p) == sample_all(logits, seeds, 5, top_p)
        assert same.float().mean() > 0.99


@pytest.mark.parametrize("flat", [0.01, 1.0, 8.0])
@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_a_row_of_a_large_vocabulary_is_the_same_alone_and_among_others(flat, top_p):
    logits = torch.randn(6, 9000, generator=torch.Generator().manual_seed(3)) * flat
    seeds = torch.arange(6).unsqueeze(1) * 12345
    before = logits.clone()
    together = sample_top_first(logits, seeds, 2, top_p)
    torch.testing.assert_close(logits, before)
    alone = [int(sample_top_first(logits[i : i + 1], seeds[i : i + 1], 2, top_p)) for i in range(6)]
    assert together.tolist() == alone


def test_banned_tokens_are_never_chosen_at_any_temperature():
    scores = torch.randn(4, 5000, generator=torch.Generator().manual_seed(4))
    best = scores.argmax(dim=1).tolist()
    ids = torch.zeros(4, 1, dtype=torch.int64)
    for temperature in (0.0, 0.01, 1.0):
        kept = scores.clone()
        chosen = RowSampler([1, 2, 3, 4], temperature, 1.0, [*best, 5000, 70_000])(ids, scores).argmax(dim=1).tolist()
        assert not set(chosen) & set(best)
        torch.testing.assert_close(scores, kept)
