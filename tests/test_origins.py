"""When the origin is lost, on chains whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from loopsim.measure.origins import origin_rows
from loopsim.states import States
from metrics.origins import first_loss, origin_rank
from metrics.survival import kaplan_meier

STARTS, TWINS, LENGTH, WIDTH = 20, 2, 60, 64
CODES = np.repeat(np.arange(STARTS), TWINS)


def forgetting(rho: float, width: int = WIDTH, length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """AR(1): x(t + 1) = ρ x(t) + noise, stationary, so the cosine to the origin is ρ^t on average."""
    rng = np.random.default_rng(seed)
    states = [np.repeat(rng.normal(size=(STARTS, width)), TWINS, axis=0)]
    for _ in range(length - 1):
        states.append(rho * states[-1] + math.sqrt(1 - rho**2) * rng.normal(size=states[-1].shape))
    return np.stack(states, axis=1)


def remembering(noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """Every state is the origin and fresh noise of the same size; never further away, never nearer."""
    rng = np.random.default_rng(seed)
    origin = np.repeat(rng.normal(size=(STARTS, WIDTH)), TWINS, axis=0)[:, None]
    x = origin + noise * rng.normal(size=(len(CODES), LENGTH, WIDTH))
    x[:, 0] = origin[:, 0]
    return x


def lost(x: np.ndarray, codes: np.ndarray = CODES, **settings: float) -> tuple[np.ndarray, np.ndarray]:
    times, observed, followed = first_loss(*origin_rank(x, codes), **settings)  # type: ignore[arg-type]
    assert followed.all()
    return times, observed


def median(x: np.ndarray) -> float:
    return kaplan_meier(*lost(x), CODES).median.value


def made(x: np.ndarray, modality: str = "text", first: int = 0, **columns: object) -> States:
    table = pd.DataFrame({"start_id": [f"s{i}" for i in CODES[: len(x)]], "condition": "c"}).assign(**columns)
    ts = np.arange(first, first + x.shape[1])
    return States("e", modality, table, ts, x.astype(np.float32), np.ones(x.shape[:2], dtype=bool))


def told(states: States) -> pd.DataFrame:
    return pd.DataFrame(list(origin_rows(states)))


def whole(states: States, metric: str = "time_to_lose_origin") -> pd.Series:
    return told(states).set_index("metric").loc[metric]


# ---- known answers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rho", "width"), [(0.8, 64), (0.9, 64), (0.9, 400)])
def test_a_chain_that_forgets_at_a_known_rate_loses_its_origin_when_theory_says(rho: float, width: int):
    """Strangers' cosines have deviation 1/√d; the nearest tenth begin at 1.28/√d, and ρ^t falls below that at t."""
    expected = math.log(1.2816 / math.sqrt(width)) / math.log(rho)
    found = np.mean([median(forgetting(rho, width, seed=seed)) for seed in range(5)])
    assert found == pytest.approx(expected, rel=0.12)


def test_a_chain_that_never_forgets_keeps_its_origin():
    times, observed = lost(remembering())
    assert not observed.any()
    assert (times == LENGTH - 3).all()  # the last iteration at which three in a row could begin


def test_a_chain_that_forgets_at_once_loses_it_at_once():
    times, observed = lost(forgetting(0.0))
    assert observed.all()
    assert np.median(times) == 1
    assert np.mean(times == 1) == pytest.approx(0.9**3, abs=0.2)


def test_an_origin_dropped_at_a_known_iteration_is_lost_there():
    x = remembering(noise=0.2)
    x[:, 7:] = np.random.default_rng(1).normal(size=x[:, 7:].shape)
    times, observed = lost(x, confirm=1)
    assert observed.all()
    assert times.min() == 7
    assert median(x) == 7


def test_a_change_of_register_is_no_loss():
    rng = np.random.default_rng(2)
    register = 4 * rng.normal(size=WIDTH)
    x = remembering(noise=0.2)
    x[:, 1:] += register
    x[:TWINS, 0] += 2 * register  # one origin is near to everything said in that register
    _times, observed = lost(x)
    assert not observed.any()
    x[:, 1:] = rng.normal(size=x[:, 1:].shape) + register
    assert np.median(lost(x)[0]) == 1
    assert lost(x)[1][:TWINS].all()


def test_chains_that_all_come_to_one_place_have_lost_their_origin_even_where_one_began_there():
    x = remembering(noise=0.2)
    x[:, 9:] = x[0, 0]
    times, observed = lost(x)
    assert observed.all()
    assert (times == 9).all()


def test_a_chain_that_comes_back_every_second_iteration_has_not_lost_its_origin():
    x = remembering(noise=0.2)
    x[:, 1::2] = np.random.default_rng(3).normal(size=WIDTH)
    assert not lost(x)[1].any()
    assert lost(x, confirm=1)[1].all()


def test_ranks_by_hand_count_only_strangers_under_the_same_condition():
    angle = np.radians([[0, 40], [0, 60], [90, 30], [180, 45]])
    x = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    ranks, strangers = origin_rank(x, ["a", "a", "b", "c"])
    assert np.isnan(ranks[:, 0]).all()
    assert strangers[:, 1].tolist() == [2, 2, 3, 3]
    # Of a at 0°, strangers stand at 30° and 45°; of b at 90°, at 40°, 60°, 45°; of c at 180°, at 40°, 60°, 30°.
    assert ranks[:, 1].tolist() == pytest.approx([2 / 3, 1.0, 1.0, 2 / 4])
    ranks, strangers = origin_rank(x, ["a", "a", "b", "c"], conditions=[0, 1, 0, 1])
    assert strangers[:, 1].tolist() == [1, 1, 1, 1]
    assert ranks[:, 1].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0])


# ---- censoring and refusals ------------------------------------------------------------------------------------------


def test_a_trajectory_that_fails_is_followed_to_its_last_state():
    x = remembering(noise=0.2)
    mask = np.ones(x.shape[:2], dtype=bool)
    mask[0, 10:] = mask[1, 2:] = mask[2, 3:] = False
    times, observed, followed = first_loss(*origin_rank(x, CODES, mask=mask))
    assert not observed.any()
    assert followed.tolist()[:4] == [True, False, False, True]
    assert times[0] == 7  # states 7, 8 and 9 could have confirmed a loss
    assert times[3] == LENGTH - 3


def test_too_few_strangers_and_too_few_iterations_are_said():
    x = forgetting(0.5)
    with pytest.raises(ValueError, match=r"at most 0 trajectories of other starts .* a rank of 0\.1 needs 9"):
        first_loss(*origin_rank(x, np.zeros(len(x), dtype=int)))
    with pytest.raises(ValueError, match=r"at most 8 trajectories of other starts .* needs 9"):
        first_loss(*origin_rank(x[:10], CODES[:10]))
    first_loss(*origin_rank(x[:9], np.arange(9)), level=0.2)
    with pytest.raises(ValueError, match="no trajectory has 3 iterations in a row"):
        first_loss(*origin_rank(x[:, :3], CODES))
    with pytest.raises(ValueError, match="one shape"):
        first_loss(np.zeros((2, 3)), np.zeros((3, 2), dtype=int))
    for wrong in ({"level": 0.0}, {"level": 1.0}, {"confirm": 0}):
        with pytest.raises(ValueError, match="level must lie between 0 and 1, and confirm be 1 or more"):
            lost(x, **wrong)


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_the_median_the_share_that_never_lost_it_and_the_curve_agree():
    frame = told(made(forgetting(0.9)))
    by = frame.set_index("metric")
    middle, never = by.loc["time_to_lose_origin"], by.loc["time_to_lose_origin:never"]
    curve = frame[frame["metric"] == "origin_kept"].set_index("t")["value"]
    assert middle["ci_low"] <= middle["value"] <= middle["ci_high"]
    assert middle["value"] == curve.index[(curve <= 0.5).argmax()]
    assert middle["n"] == STARTS
    assert "|confirm:3|" in middle["signature"]
    assert "|rank:0.1|" in middle["signature"]
    assert curve.index[0] == 1
    assert never["value"] == curve.iloc[-1]
    assert (curve.diff().dropna() <= 0).all()


def test_what_is_never_lost_is_censored_and_no_zero():
    rows = told(made(remembering())).set_index("metric")
    assert math.isnan(rows.loc["time_to_lose_origin", "value"])
    assert "100% last beyond the last iteration followed, 57" in rows.loc["time_to_lose_origin", "undefined"]
    assert rows.loc["time_to_lose_origin:never", "value"] == 1.0


def test_of_pictures_the_first_picture_is_the_origin_and_iterations_keep_their_numbers():
    x = remembering(noise=0.2)
    x[:, 6:] = np.random.default_rng(1).normal(size=x[:, 6:].shape)
    assert whole(made(x, "image", first=1))["value"] == 7
    assert whole(made(x, "text"))["value"] == 6
    assert told(made(x, "image", first=1)).query("metric == 'origin_kept'")["t"].min() == 2


def test_one_start_only_has_a_reason_and_no_number():
    row = told(made(forgetting(0.5)[:TWINS])).iloc[0]
    assert row["metric"] == "time_to_lose_origin"
    assert math.isnan(row["value"])
    assert "0 trajectories of other starts" in row["undefined"]


def test_a_cell_that_pools_conditions_compares_within_each():
    """Each condition has a register of its own, into which its origins do not come."""
    x = np.concatenate([remembering(noise=0.5), remembering(noise=0.5)])
    x[len(CODES) :, 1:] += 5 * np.random.default_rng(4).normal(size=WIDTH)
    table = {"start_id": [f"s{i}" for i in (*CODES, *CODES)], "condition": ["a"] * len(CODES) + ["b"] * len(CODES)}
    states = States("e", "text", pd.DataFrame(table), np.arange(LENGTH), x.astype(np.float32),
                    np.ones(x.shape[:2], dtype=bool))  # fmt: skip
    assert whole(states, "time_to_lose_origin:never")["value"] > 0.95
