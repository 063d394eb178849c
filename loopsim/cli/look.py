"""`loopsim plan`: look, and change nothing."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from loopsim.cli._costs import costs_as_json, print_costs
from loopsim.cli._shared import (
    ExperimentArgument,
    JsonOption,
    OverridesArgument,
    app,
    planned,
    print_text,
    reporting,
    say,
    say_notices,
    table,
)


@app.command()
def plan(
    experiment: ExperimentArgument,
    overrides: OverridesArgument = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Measure a step or two of each model on this machine; stores nothing.")
    ] = False,
    device: Annotated[str, typer.Option(help="For --probe: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    memory: Annotated[
        float | None, typer.Option(min=0, metavar="GB", help="Of the device: do all models stay loaded?")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what would run, what it costs, and what would be refused. Nothing is run."""
    with reporting():
        from loopsim.costs import price_plan, probe_plan
        from loopsim.runner import check_device, check_plan

        check_device(device)
        this = planned(experiment, overrides)
        unseen = [str(error) for error in check_plan(this).unseen]
        for line in unseen:
            say(f"not checked, and a run would end here: {line}", "notice:", "yellow")
        say_notices(this)
        costs = price_plan(this, probe_plan(this, device, say) if probe else None, memory)
        counts = {
            "name": this.experiment.name,
            "conditions": [{"id": c.id, "label": c.label, **c.factors} for c in this.conditions],
            "starts": len(this.starts),
            "replicates": this.experiment.replicates,
            "trajectories": len(this.trajectories),
            "iterations": this.experiment.iterations,
            "steps": this.steps,
            "cohorts": len(this.cohorts),
            "unchecked": unseen,
            "costs": costs_as_json(costs),
        }
        if as_json:
            print(json.dumps(counts, indent=1))  # noqa: T201 - a result, on stdout
            return
        rows = [(c.id, c.label, " → ".join(f"{spec.role} {spec.model}" for spec in c.chain)) for c in this.conditions]
        table(f"{counts['name']}: {len(rows)} conditions", ("id", "condition", "chain"), rows)
        groups = {start.group: 0 for start in this.starts}
        for start in this.starts:
            groups[start.group] += 1
        named = ", ".join(f"{count} {name}" for name, count in groups.items())
        print_text(
            f"{len(this.conditions)} conditions × {counts['starts']} starts ({named}) × {counts['replicates']} "
            f"replicates = {counts['trajectories']} trajectories in {counts['cohorts']} cohorts\n"
            f"{counts['trajectories']} trajectories × {counts['iterations']} iterations = {counts['steps']} steps "
            "(each one image and one caption)"
        )
        print_costs(costs)
