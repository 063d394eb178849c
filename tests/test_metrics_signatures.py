"""An option that can change a number is in its signature: two settings never share one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metrics import (
    attractors,
    attribution,
    comparison,
    concepts,
    decay,
    detection,
    diversity,
    drift,
    entropy,
    jackknife,
    missing,
    panel,
    pull,
    rarefaction,
    recurrence,
    resampling,
    survival,
    text,
    transitions,
)

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(24, 6))
STATES = RNG.normal(size=(12, 40, 6))
PROMPTS = np.arange(12)
VALUES = RNG.normal(size=(12, 40)).cumsum(axis=1)
SEEN = RNG.random((12, 20)) < 0.7
CAPTIONS = [" ".join(RNG.choice(list("abcdefgh"), 9)) for _ in range(24)]
LABELS = RNG.integers(0, 3, (12, 40))
PAIRS = np.repeat(np.arange(12), 2)
FACTORS = {"model": np.tile([0, 1], 12)}


def mean(x: np.ndarray) -> float:
    return float(x.mean())


CASES: list[tuple[Callable[..., Any], tuple[Any, ...], list[dict[str, Any]], Callable[[Any], str]]] = [
    (diversity.vendi_estimate, (ROWS,), [{}, {"q": 2.0}, {"confidence": 0.9}], lambda e: e.signature),
    (diversity.mean_pairwise_distance_estimate, (ROWS,), [{}, {"confidence": 0.9}], lambda e: e.signature),
    (
        entropy.shannon_estimate,
        (LABELS[0],),
        [{}, {"correction": "miller-madow"}, {"base": 3.0}, {"confidence": 0.9}],
        lambda e: e.signature,
    ),
    (entropy.effective_number_estimate, (LABELS[0],), [{}, {"correction": "chao-shen"}], lambda e: e.signature),
    (entropy.coverage_number_estimate, (LABELS[0], 0.5), [{}, {"confidence": 0.9}], lambda e: e.signature),
    (text.ngram_entropy_estimate, (CAPTIONS,), [{}, {"n": 2}, {"tokens": 50}], lambda e: e.signature),
    (text.distinct_n_estimate, (CAPTIONS,), [{}, {"n": 1}, {"tokens": 50}], lambda e: e.signature),
    (text.caption_entropy_estimate, (CAPTIONS,), [{}, {"correction": "miller-madow"}], lambda e: e.signature),
    (
        rarefaction.rarefied_estimate,
        (diversity.vendi, ROWS, 8),
        [{"name": "s", **own} for own in ({}, {"seed": 1}, {"draws": 50}, {"parameters": {"q": 1}})],
        lambda e: e.signature,
    ),
    (jackknife.estimate, (mean, ROWS), [{"name": "s"}, {"name": "s", "parameters": {"q": 2}}], lambda e: e.signature),
    (
        resampling.bootstrap_mean,
        (VALUES[:, 0],),
        [{}, {"seed": 1}, {"n_resamples": 100}, {"confidence": 0.9}, {"parameters": {"t": 0}}],
        lambda e: e.signature,
    ),
    (
        resampling.delete_d,
        (mean, ROWS),
        [{"d": 3, "name": "s", **own} for own in ({}, {"d": 4}, {"seed": 1}, {"draws": 50}, {"parameters": {"q": 2}})],
        lambda e: e.signature,
    ),
    (
        resampling.subsample,
        (mean, ROWS),
        [{"name": "s", **own} for own in ({}, {"size": 9}, {"seed": 1}, {"draws": 50}, {"parameters": {"q": 2}})],
        lambda e: e.signature,
    ),
    (drift.mean_curve, (VALUES,), [{"name": "s"}, {"name": "s", "parameters": {"lag": 2}}], lambda e: e[0].signature),
    (
        decay.decay,
        (VALUES.mean(axis=0), VALUES),
        [{}, {"start": 2}, {"smallest_share": 0.2}, {"smallest_effect": 0.3}, {"alpha": 0.1}, {"n_resamples": 100},
         {"seed": 1}],
        lambda d: d.change.signature,
    ),
    (
        panel.panel,
        (STATES, PROMPTS // 2, 1),
        [{}, {"stop": 30}, {"confidence": 0.9}, {"mask": np.arange(480).reshape(12, 40) % 50 > 0}],
        lambda p: p.step.signature,
    ),
    (recurrence.lag_distances, (STATES,), [{}, {"burn_in": 3}, {"seed": 1}], lambda e: e[0].signature),
    (recurrence.cycle_contrasts, (STATES,), [{}, {"burn_in": 3}, {"seed": 1}], lambda e: e[0].signature),
    (
        recurrence.absorption,
        (STATES,),
        [{}, {"tolerance": 0.1}, {"max_period": 3}, {"hold": 5}],
        lambda a: a.share.signature,
    ),
    (pull.attractor, (VALUES[:, 0], VALUES[:, 1]), [{}, {"seed": 1}, {"n_resamples": 99}], lambda a: a.slope.signature),
    (
        pull.serial_reproduction,
        (VALUES,),
        [{}, {"start": 5}, {"seed": 1}, {"n_resamples": 99}, {"confidence": 0.9}],
        lambda r: r.rate.signature,
    ),
    (
        transitions.transitions,
        (LABELS, 3),
        [{}, {"start": 5}, {"min_exits": 3}, {"confidence": 0.9}],
        lambda t: t.escape[0].signature,
    ),
    (
        attribution.attribution,
        (np.repeat(VALUES[:, 0], 2) + RNG.normal(size=24), PAIRS, FACTORS),
        [{"name": "s"}, {"name": "other"}, {"name": "s", "confidence": 0.9}],
        lambda a: a.effects[1].omega_squared.signature,
    ),
    (
        detection.hidden_survival,
        (SEEN,),
        [{}, {"breaks": (3,)}, {"breaks": (4,)}, {"miss": 0.1}, {"initially_present": False}, {"confidence": 0.9}],
        lambda h: h.losses[0].signature,
    ),
    (
        survival.log_rank,
        (np.arange(24) % 7, np.ones(24, dtype=bool), np.tile([0, 1], 12), PAIRS),
        [{}, {"stratify": False}],
        lambda r: r.signature,
    ),
    (
        comparison.paired_test,
        (VALUES[:, 0], VALUES[:, 1]),
        [{}, {"alternative": "less"}, {"n_permutations": 99}, {"seed": 1}],
        lambda t: t.signature,
    ),
    (comparison.equivalence, (VALUES[:, 0], 1.0), [{}, {"alpha": 0.1}], lambda e: e.difference.signature),
    (
        missing.worst_case_mean,
        (VALUES[:, 0] / 99, np.ones(12, dtype=bool), -1.0, 1.0),
        [{}, {"confidence": 0.9}],
        lambda b: b.signature,
    ),
    (
        attractors.endpoint_clusters,
        (ROWS,),
        [{"n_nulls": 19, "ks": (2, 3), **own} for own in ({}, {"ks": (2, 4)}, {"seed": 1}, {"alpha": 0.1})],
        lambda c: c.signature,
    ),
    (attractors.density_clusters, (ROWS,), [{}, {"min_cluster_size": 3}, {"min_samples": 2}], lambda c: c.signature),
    (concepts.concept_events, (SEEN[:, :, None], SEEN[:, :1]), [{}, {"seed": 1}], lambda c: c.losses.signature),
    (
        concepts.concept_replacements,
        (SEEN.reshape(12, 10, 2), np.tile([True, False], (12, 1))),
        [{}, {"seed": 1}],
        lambda c: c.counts[0].signature,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0].__name__)
def test_no_two_settings_share_a_signature(case: tuple[Any, ...]) -> None:
    function, arguments, settings, read = case
    signatures = [read(function(*arguments, **own)) for own in settings]
    assert len(set(signatures)) == len(settings), signatures


def test_neither_do_the_parts_of_one_result() -> None:
    several = {
        "lags": recurrence.lag_distances(STATES),
        "periods": recurrence.cycle_contrasts(STATES),
        "iterations": drift.mean_curve(VALUES, name="s"),
        "motifs": transitions.transitions(LABELS, 3).escape,
        "cycles": recurrence.absorption(STATES).share_by_period,
        "blocks": detection.hidden_survival(SEEN).losses,
    }
    for name, estimates in several.items():
        assert len({estimate.signature for estimate in estimates}) == len(estimates), name


def test_interactions_split_off_change_the_residual_and_the_signature() -> None:
    response = RNG.normal(size=48)
    design = (np.repeat(np.arange(12), 4), {"model": np.tile([0, 0, 1, 1], 12)})
    plain, split = (
        attribution.attribution(response, *design, name="s", pairs=pairs).effects[1].omega_squared
        for pairs in (False, True)
    )
    assert plain.value != split.value
    assert plain.signature != split.signature
