"""A plan made small and its models instant, so that a whole run can be tried in seconds before it is paid for."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from loopsim.catalog import settings_of
from loopsim.experiment import Experiment
from loopsim.models.base import Captioner, ImageGenerator
from loopsim.models.mock import WillingGenerator
from loopsim.models.pool import ModelPool
from loopsim.plan import Plan, make_plan
from loopsim.records import Cohort, Condition, ModelSpec
from loopsim.starts import BranchReader

STARTS, ITERATIONS, REPLICATES = 4, 5, 2
"""What is left of each group of starts (that begin together), of the iterations, of the replicates; of fewer, all."""
_TOGETHER = 1_000_000
"""Trajectories of a cohort: in cohorts as small as the file says, one of a group could be left alone."""
_MOCK = "mock"
_KEPT = {"generator": (), "captioner": ("temperature", "max_new_tokens", "max_words")}
"""Settings that the models that stand in have too: with a temperature of 0 they too say the same of the same."""


def rehearsal_of(experiment: Experiment, read_branch: BranchReader | None = None) -> Plan:
    """A small plan of the same conditions, controls and groups of starts, drawn and described by mock models.

    Conditions keep their names and factors, so what is measured and drawn of them is what will be; the numbers are not.
    A run of it says in its experiment file that it was made by the models that it was not made by: it is to be thrown
    away.

    Args:
        experiment: what is to be rehearsed.
        read_branch: reads starts that are steps of other runs.

    Raises:
        ExperimentError: as `make_plan`.
        ModelError: as `make_plan`.
    """
    latest = max((control.at or 0 for control in experiment.controls), default=0)
    few = experiment.model_copy(
        update={
            "iterations": min(experiment.iterations, max(ITERATIONS, latest + 1)),
            "replicates": min(experiment.replicates, REPLICATES),
            "cohort": _TOGETHER,
            "embedders": [_MOCK],
        }
    )
    plan = make_plan(few, read_branch, STARTS)
    acted = {condition.id: _acted(condition) for condition in plan.conditions}
    cohorts = tuple(
        Cohort(cohort.id, tuple(replace(t, condition=acted[t.condition.id]) for t in cohort.trajectories))
        for cohort in plan.cohorts
    )
    return replace(plan, conditions=tuple(acted.values()), cohorts=cohorts)


class StandIns(ModelPool):
    """Models for a rehearsal: no prompt is special to them."""

    def _load(self, spec: ModelSpec) -> ImageGenerator | Captioner:
        return WillingGenerator("", spec, self.device) if spec.role == "generator" else super()._load(spec)


def _acted(condition: Condition) -> Condition:
    return replace(condition, chain=tuple(map(_mock, condition.chain)))


def _mock(spec: ModelSpec) -> ModelSpec:
    kept = {name: spec.settings[name] for name in _KEPT[spec.role] if name in spec.settings}
    return ModelSpec(spec.role, _MOCK, MappingProxyType(settings_of(spec.role, _MOCK, kept)))
