"""What is looked at before a run begins or goes on: everything that it can be refused for without being begun."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from loopsim import provenance
from loopsim.errors import UsageError
from loopsim.plan import Plan
from loopsim.presets.hosted import is_hosted
from loopsim.runner.preflight import Checked, check_again, check_plan
from loopsim.store import Run, Share, standing


def look_ahead(
    plan: Plan,
    out: Path,
    *,
    device: str,
    max_cost: float | None = None,
    share: Share | None = None,
    clustered: bool = False,
    checked: Checked | None = None,
) -> Mapping[str, object]:
    """Refuse a plan that cannot be carried out in a run directory; nothing is made and no weights are loaded.

    Args:
        plan: what is to be done.
        out: the run directory.
        device: for the models.
        max_cost: US dollars that hosted models may cost; None is no limit.
        share: which part of the cohorts is to be done; None is all.
        clustered: whether other processes do it, whose devices may be others.
        checked: what `check_plan` found with the same `max_cost`, so that nothing is asked twice.

    Returns:
        What the manifest is to say of where the results come from.

    Raises:
        UsageError: `max_cost` is given, and nobody knows what a hosted model charges, or several processes would spend;
            or hosted models are to be shared out.
        ModelError: a model is refused; NotAtHand where only this machine lacks it.
        StoreError: the run that is there is damaged.
    """
    specs = [spec for condition in plan.conditions for spec in condition.chain]
    _check_hosted(plan, clustered, max_cost, share)
    there = standing(out, plan)
    if there is not None:
        check_again(plan, _known_embedders(there), max_cost)
        # A run that is there keeps what it has; an embedder that is new to it is pinned when it embeds.
        return provenance.collect(specs, provenance.commits_in(there.manifest))
    checked = checked or check_plan(plan, max_cost)
    for unseen in checked.unseen:
        raise unseen
    if not clustered:
        check_placements(plan, device)
    return provenance.collect(specs, checked.commits, plan.experiment.embedders)


def hosted_models(plan: Plan) -> list[str]:
    """The hosted models of a plan, each once."""
    names = (spec.model for condition in plan.conditions for spec in condition.chain)
    return [name for name in dict.fromkeys(names) if is_hosted(name)]


def _check_hosted(plan: Plan, clustered: bool, max_cost: float | None, share: Share | None) -> None:
    """Refuse a cluster for hosted models, which gain nothing by it, and a limit of cost where several spend at once."""
    hosted = hosted_models(plan)
    if clustered and hosted:
        raise UsageError(
            f"{hosted[0]} is hosted: it waits for its service and not for this machine, and no cluster makes it "
            "faster; leave out --executor"
        )
    if max_cost is not None and share is not None:
        raise UsageError("--max-cost cannot be kept by several processes that spend at once: leave out --shard")


def check_placements(plan: Plan, device: str) -> None:
    """Refuse to swap weights on this device, if it is none that they can be swapped with.

    Raises:
        ModelError: it is not.
    """
    settings = (spec.settings.get("placement") for condition in plan.conditions for spec in condition.chain)
    wanted = {str(one) for one in settings if one not in (None, "auto")}
    if wanted:
        from loopsim.models.generator_memory import check_placement
        from loopsim.models.torch_setup import pick_device

        for one in sorted(wanted):
            check_placement(one, pick_device(device))


def _known_embedders(run: Run) -> set[str]:
    """Those that a run has vectors of, or has pinned."""
    return {*run.embedder_names(), *(one["embedder"] for one in run.manifest["provenance"].get("embedders") or ())}
