"""What is looked at before anything is made or loaded: a plan that cannot be carried out is refused."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loopsim import catalog, models
from loopsim.errors import NotAtHand
from loopsim.models import repositories
from loopsim.models.generator_checks import check_early
from loopsim.models.hosted.meter import check_prices
from loopsim.models.repositories import Found, Source
from loopsim.models.revisions import Commits
from loopsim.models.token_checks import check_meaning
from loopsim.plan import Plan
from loopsim.presets.entry import AUTOREGRESSIVE
from loopsim.records import ModelSpec
from loopsim.seeds import digest


@dataclass(frozen=True)
class Checked:
    """What was found of a plan that can be carried out, as far as can be told here."""

    commits: Commits
    """Of the hub models that were looked at, and of what is loaded beside them."""
    unseen: tuple[NotAtHand, ...]
    """What this machine lacks, so that something could not be looked at, or is not there yet: a model that is not in
    the cache while the hub cannot be asked, a hosted model's key. A run ends with it."""


def check_plan(plan: Plan, max_cost: float | None = None) -> Checked:
    """Refuse a plan that cannot be carried out, from settings, small files and what the hub says; no weights are read.

    Args:
        plan: what is to be done.
        max_cost: US dollars that hosted models may cost; None is no limit.

    Raises:
        ModelError: a model is unknown, of another kind, gated, missing, or not fit for its settings.
        UsageError: `max_cost` is given, and nobody knows what a hosted model charges.
    """
    check_at_once(plan, max_cost)
    look = _Look()
    for spec in distinct(plan):
        if look.at(repositories.sources_of(spec)):
            with look.noting():
                models.check_model(spec)
    for condition in plan.conditions:
        if condition.control is not None and condition.control.kind == "image_to_image":
            for spec in condition.chain[::2]:
                if look.at(repositories.sources_of(spec)):
                    with look.noting():
                        models.check_varying(spec, condition.control.strength)
    look.at_embedders(plan.experiment.embedders)
    return Checked(look.commits(), look.unseen())


def check_again(plan: Plan, known: Container[str], max_cost: float | None = None) -> None:
    """What may be new where a run goes on, which was looked at when it began: a limit of cost, further embedders.

    Args:
        plan: what is to be done.
        known: embedders that the run has looked up, or has vectors of.
        max_cost: as for `check_plan`.

    Raises:
        ModelError: as `check_plan`; also where a further embedder is not at hand.
        UsageError: as `check_plan`.
    """
    check_at_once(plan, max_cost)
    look = _Look()
    look.at_embedders(name for name in plan.experiment.embedders if name not in known)
    for unseen in look.unseen():
        raise unseen


def check_at_once(plan: Plan, max_cost: float | None = None) -> None:
    """Refuse what settings and the files of directories tell, without the hub.

    Raises:
        ModelError: as `check_plan`.
        UsageError: as `check_plan`.
    """
    specs = distinct(plan)
    for spec in specs:
        entry = catalog.find(spec.role, spec.model)
        if entry.adapter == AUTOREGRESSIVE:
            check_meaning(spec)
        if spec.role == "generator":
            check_early(spec)
    for name in plan.experiment.embedders:
        catalog.find("embedder", name)
    if max_cost is not None:
        check_prices(specs)


def distinct(plan: Plan) -> list[ModelSpec]:
    """The models of all chains, each setting of each once."""
    specs = [spec for condition in plan.conditions for spec in condition.chain]
    return list({digest(spec.identity()): spec for spec in specs}.values())


class _Look:
    """Looks at each repository once, and goes on where one cannot be looked at."""

    def __init__(self) -> None:
        self._found: dict[Source, list[Found]] = {}
        self._unseen: dict[str, NotAtHand] = {}

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note what is not at hand, and go on."""
        try:
            yield
        except NotAtHand as error:
            self._unseen.setdefault(str(error), error)

    def at(self, sources: Iterable[Source]) -> bool:
        """Look at the repositories of a model; whether all are at hand."""
        known = True
        for source in sources:
            if source not in self._found:
                self._found[source] = []
                with self.noting():
                    self._found[source] = repositories.look(source)
            known &= bool(self._found[source])
        return known

    def at_embedders(self, names: Iterable[str]) -> None:
        """Look at embedders, and into their configurations."""
        for name in names:
            with self.noting():
                if self.at(repositories.sources_of_embedder(name)):
                    models.check_embedder(name)

    def commits(self) -> Commits:
        """What the repositories' revisions stand for, now."""
        return {found.source.key: found.needs.commit for all_of in self._found.values() for found in all_of}

    def unseen(self) -> tuple[NotAtHand, ...]:
        """What is not at hand, each reason once."""
        return tuple(self._unseen.values())
