"""What happens between iterations: from a cohort's steps at t to the prompts of t+1; the plain loop, and the controls.

A control is a null arm: the same models, starts and noise, with the loop broken in one known way. What a loop shows
beyond its controls is the loop's doing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loopsim.records import EMPTY_CAPTION, Control, Step, Trajectory
from loopsim.seeds import digest


@dataclass(frozen=True)
class Prompt:
    """What a trajectory draws next."""

    text: str
    """The text."""
    parent: str
    """The trajectory that said it."""


Seam = Callable[[Sequence[Step]], Mapping[str, Prompt]]
"""From a cohort's steps at t to the prompts of t+1, by trajectory id: the one place where interventions plug in."""


def carry_on(steps: Sequence[Step]) -> Mapping[str, Prompt]:
    """Each trajectory draws its own last description: the plain loop."""
    return {step.trajectory_id: Prompt(step.text or EMPTY_CAPTION, step.trajectory_id) for step in steps}


def control_seam(control: Control, members: Sequence[Trajectory], seed: int) -> Seam:
    """The seam of a control.

    Args:
        control: which.
        members: the cohort.
        seed: the experiment's seed; a control draws by seed, start, replicate and iteration, as everything does.
    """
    if control.kind == "shuffled":
        return _shuffled(members, seed)
    if control.kind == "random_captions":
        return _random_captions(control.pool, members, seed)
    if control.kind == "image_to_image":
        return _beside_pictures(control.prompt)
    return _repeated(control.at)


def _repeated(at: int) -> Seam:
    """The description of iteration `at` is drawn again and again; up to there it is the plain loop."""

    def seam(steps: Sequence[Step]) -> Mapping[str, Prompt]:
        # What was drawn last is what was kept, so nothing need be remembered and a resumed run goes on alike.
        return {
            step.trajectory_id: Prompt(
                (step.text if step.t <= at or step.text_in is None else step.text_in) or EMPTY_CAPTION,
                step.trajectory_id,
            )
            for step in steps
        }

    return seam


def _beside_pictures(prompt: str) -> Seam:
    """What is drawn beside the last picture; a trajectory that has none yet cannot be varied and draws its start."""

    def seam(steps: Sequence[Step]) -> Mapping[str, Prompt]:
        own = carry_on(steps)
        return {
            step.trajectory_id: Prompt(prompt, step.trajectory_id)
            if step.image is not None
            else own[step.trajectory_id]
            for step in steps
        }

    return seam


def _shuffled(members: Sequence[Trajectory], seed: int) -> Seam:
    """Descriptions change hands within a cohort and group of starts: each draws another's, and none its own.

    None draws a replicate's of its own start either, unless more than half of those that change have that start.
    """
    groups = {member.id: member.start.group for member in members}
    starts = {member.id: member.start.id for member in members}
    company = [[member.start.id, member.replicate] for member in members]

    def seam(steps: Sequence[Step]) -> Mapping[str, Prompt]:
        prompts: dict[str, Prompt] = {}
        for group in dict.fromkeys(groups[step.trajectory_id] for step in steps):
            mine = [step for step in steps if groups[step.trajectory_id] == group]
            rng = np.random.default_rng(int(digest([seed, "shuffled", company, group, mine[0].t], 16), 16))
            order = rng.permutation(len(mine))
            # Everyone hands on to the next of a random circle, so that nobody gets their own.
            givers = np.empty(len(mine), dtype=np.intp)
            givers[np.roll(order, 1)] = order
            codes = np.unique([starts[step.trajectory_id] for step in mine], return_inverse=True)[1]
            for step, giver in zip(mine, _from_other_starts(givers, codes, rng), strict=True):
                said = mine[giver]
                prompts[step.trajectory_id] = Prompt(said.text or EMPTY_CAPTION, said.trajectory_id)
        return prompts

    return seam


def _from_other_starts(
    givers: NDArray[np.intp], starts: NDArray[np.intp], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Whoever has a giver of the same start changes givers with somebody at random, so that neither has one.

    Args:
        givers: shape (n,), who each is given from; each gives once.
        starts: shape (n,), the start of each.
        rng: for the choice.
    """
    givers = givers.copy()
    for taker in np.flatnonzero(starts[givers] == starts):
        if starts[givers[taker]] != starts[taker]:  # it has changed already
            continue
        others = np.flatnonzero((starts != starts[taker]) & (starts[givers] != starts[taker]))
        if len(others):
            other = rng.choice(others)
            givers[[taker, other]] = givers[[other, taker]]
    return givers


def _random_captions(pool: Sequence[str], members: Sequence[Trajectory], seed: int) -> Seam:
    """Each draws a text that is drawn from a pool, whatever was described."""
    keys = {member.id: [member.start.id, member.replicate] for member in members}

    def seam(steps: Sequence[Step]) -> Mapping[str, Prompt]:
        prompts = {}
        for step in steps:
            rng = np.random.default_rng(int(digest([seed, "random", *keys[step.trajectory_id], step.t], 16), 16))
            prompts[step.trajectory_id] = Prompt(pool[int(rng.integers(len(pool)))], step.trajectory_id)
        return prompts

    return seam
