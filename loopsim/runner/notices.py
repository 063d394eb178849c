"""What a user should know before a run, and what is refused before anything is made."""

from __future__ import annotations

import re

from loopsim.catalog import find
from loopsim.errors import UsageError
from loopsim.plan import Plan
from loopsim.presets.embedders import DEFAULT_JUDGE
from loopsim.presets.encoders import shared
from loopsim.presets.entry import of_postcards


def check_device(name: str) -> None:
    """Refuse a device that cannot be, before anything is made.

    Raises:
        UsageError: the name is none of those that torch has.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}: it is auto, cpu, mps, cuda, or cuda:0, cuda:1, …")


def notices(plan: Plan) -> list[str]:
    """What a user should know before the run, one line each."""
    lines = []
    drawn_by = {spec.model for c in plan.conditions for spec in c.chain if spec.role == "generator"}
    toys = [name for name in plan.experiment.embedders if _is_small(name)]
    beyond = sorted(name for name in drawn_by if not _is_small(name))
    if toys and beyond:
        lines.append(
            f"the embedder {toys[0]} knows nothing beyond this project's own small world: its distances mean nothing "
            f"for {', '.join(beyond)}; set embedders: clip-vit-b-32, or another"
        )
    lines += _partial_judges(plan)
    texts = [start.text for start in plan.starts if start.text]
    if any(of_postcards(name) for name in drawn_by) and texts:
        from loopsim.models.postcards import world

        words = sum(len(text.split()) for text in texts)
        unknown = [word for text in texts for word in world.unknown_words(text)]
        if unknown:
            shown = ", ".join(dict.fromkeys(unknown[:50]))
            lines.append(
                f"postcards knows {len(world.vocabulary())} words; {len(unknown) / max(words, 1):.0%} of the words of "
                f"these prompts are not among them and will be drawn as something else: {shown:.200}"
            )
    return lines


def _is_small(name: str) -> bool:
    return name == "mock" or of_postcards(name)


def _partial_judges(plan: Plan) -> list[str]:
    """Embedders that are part of a model whose output they judge."""
    chain = {spec.model: find(spec.role, spec.model).location for c in plan.conditions for spec in c.chain}
    lines = []
    for name in plan.experiment.embedders:
        own = shared(find("embedder", name).location, chain.values())
        for model, location in chain.items():
            if location in own:
                lines.append(
                    f"the embedder {name} is no judge apart: {model} has {own[location]} inside, so what that attends "
                    f"to counts twice; set embedders: {DEFAULT_JUDGE}, dinov2-b, or another that is in neither model"
                )
    return lines
