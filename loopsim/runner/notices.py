"""What a user should know of a plan before the run, one line each: nothing here is wrong enough to be refused."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from loopsim import catalog, models
from loopsim.errors import NotAtHand, UsageError
from loopsim.executors import RayOptions
from loopsim.executors.ray_cluster import check_cluster, check_options
from loopsim.models.inside import Encoder, encoder_of_embedder, encoders_inside
from loopsim.plan import Plan
from loopsim.presets.embedders import DEFAULT_JUDGE
from loopsim.presets.entry import of_postcards


def check_device(name: str) -> None:
    """Refuse a device that cannot be, before anything is made.

    Raises:
        UsageError: the name is none of those that torch has.
        ModelError: torch sees no such device here.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"unknown device {name!r}: it is auto, cpu, mps, cuda, or cuda:0, cuda:1, …")
    if name not in ("auto", "cpu"):
        from loopsim.models.torch_setup import pick_device

        pick_device(name)


def check_executor(name: str, options: RayOptions, shard: str | None, max_cost: float | None) -> None:
    """Refuse an executor that cannot be, or options that it would not heed, before anything is made.

    Raises:
        UsageError: it is none, something given beside it does not go with it, or nobody answers at its address.
    """
    if name not in ("local", "ray"):
        raise UsageError(f"unknown executor {name!r}: it is local or ray")
    if name == "local" and options != RayOptions():
        raise UsageError(
            "--address, --workers, --num-gpus, --num-cpus, --captioners, --captioner-gpus and --driver-writes are for "
            "a cluster: add --executor ray"
        )
    if name == "ray" and shard is not None:
        raise UsageError("--shard and --executor ray are two ways to share out one run: give one of them")
    if name == "ray" and max_cost is not None:
        raise UsageError("--max-cost cannot be kept by several processes that spend at once: leave out --executor")
    if name == "ray":
        check_options(options)
        check_cluster(options)


def notices(plan: Plan) -> list[str]:
    """All that is to be said of a plan; of hub models, as far as the cache tells."""
    return [*_toys(plan), *_partial_judges(plan), *_half_blind(plan), *_unknown_words(plan), *_drawn_once(plan)]


def _generators(plan: Plan) -> set[str]:
    return {spec.model for c in plan.conditions for spec in c.chain if spec.role == "generator"}


def _toys(plan: Plan) -> Iterator[str]:
    toys = [name for name in plan.experiment.embedders if _is_small(name)]
    beyond = sorted(name for name in _generators(plan) if not _is_small(name))
    if toys and beyond:
        yield (
            f"the embedder {toys[0]} knows nothing beyond this project's own small world: its distances mean nothing "
            f"for {', '.join(beyond)}; set embedders: clip-vit-b-32, or another"
        )


def _is_small(name: str) -> bool:
    return name == "mock" or of_postcards(name)


def _partial_judges(plan: Plan) -> Iterator[str]:
    """Embedders that are part of a model whose output they judge."""
    specs = [spec for condition in plan.conditions for spec in condition.chain]
    made_of = ("base", "refiner")  # other settings bring no encoder
    distinct = {(spec.role, spec.model, *(spec.settings.get(part) for part in made_of)): spec for spec in specs}
    chain = [(spec.model, catalog.find(spec.role, spec.model), encoders_inside(spec)) for spec in distinct.values()]
    for name in plan.experiment.embedders:
        entry = catalog.find("embedder", name)
        own = encoder_of_embedder(entry.path())
        lines = []
        for model, known, inside in chain:
            if entry.location and not entry.embedded and entry.path() == known.path():
                lines.append(_no_judge(name, f"is no judge apart: {model} has the same weights inside"))
                continue
            shared = next((encoder for encoder in inside if own is not None and encoder.name == own.name), None)
            if shared is not None and own is not None:
                lines.append(_no_judge(name, _sharing(model, shared, own)))
        yield from dict.fromkeys(lines)


def _sharing(model: str, inside: Encoder, own: Encoder) -> str:
    if inside.certain and own.certain:
        return f"is no judge apart: {model} has {inside.name} inside"
    return f"is likely no judge apart: {model} has a network inside that by its shape is {inside.name}"


def _no_judge(embedder: str, why: str) -> str:
    return (
        f"the embedder {embedder} {why}, so what that attends to counts twice; set embedders: {DEFAULT_JUDGE}, "
        "dinov2-b, or another that is in neither model"
    )


def _half_blind(plan: Plan) -> Iterator[str]:
    """Embedders that leave texts or pictures unmeasured, and which others of the plan measure them."""
    reads: dict[str, frozenset[str]] = {}
    for name in plan.experiment.embedders:
        with contextlib.suppress(NotAtHand):  # that is said where the plan is checked
            reads[name] = models.modalities_of(name)
    for name, modalities in reads.items():
        line = models.unread(name, modalities)
        if line is not None:
            others = [other for other, more in reads.items() if more - modalities]
            such = "dinov2-b" if modalities == {"text"} else "all-mpnet-base-v2"
            yield line + (
                f", but by {', '.join(others)}" if others else f"; add one that does, such as {such} or {DEFAULT_JUDGE}"
            )


def _drawn_once(plan: Plan) -> Iterator[str]:
    """A `redraw` that keeps a description too late to draw it twice is the loop itself."""
    n, last = plan.experiment.iterations, max(start.t0 for start in plan.starts)
    ats = [c.control.at for c in plan.conditions if c.control is not None and c.control.kind == "redraw"]
    for at in dict.fromkeys(ats):
        first = max(at, last) + 1
        if last + n < first + 1:
            yield (
                f"controls: redraw: {{at: {at}}} is the loop itself up to iteration {first}, and the run ends at "
                f"{last + n}, so nothing is drawn twice; set iterations: {first + 1 - last} or more, or an earlier at"
            )


def _unknown_words(plan: Plan) -> Iterator[str]:
    texts = [start.text for start in plan.starts if start.text]
    if not texts or not any(of_postcards(name) for name in _generators(plan)):
        return
    from loopsim.models.postcards import world

    words = sum(len(text.split()) for text in texts)
    unknown = [word for text in texts for word in world.unknown_words(text)]
    if unknown:
        shown = ", ".join(dict.fromkeys(unknown[:50]))
        yield (
            f"postcards knows {len(world.vocabulary())} words; {len(unknown) / max(words, 1):.0%} of the words of "
            f"these prompts are not among them and will be drawn as something else: {shown:.200}"
        )
