"""The repositories of the hub that a model is loaded from, and whether what would be read of them can be had.

A look asks the hub for the list of a repository's files (or the cache, where there is no network) and reads one small
file at most; it is what `loopsim plan`, `run` and `models check` begin with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from loopsim import catalog, models
from loopsim.errors import ModelError, NotAtHand
from loopsim.models import embedder_kinds, revisions
from loopsim.models.generator_files import locate, read_json
from loopsim.models.hub_files import Library, Weights, no_variant, parts_of, wanted_of, weights_of
from loopsim.models.loras import choose_lora, parse_loras
from loopsim.models.pickles import pickled
from loopsim.models.revisions import Wanted
from loopsim.paths import expanded, is_file
from loopsim.presets.embedders import EMBEDDER_FILES
from loopsim.presets.entry import (
    AUTOREGRESSIVE,
    DIFFUSERS,
    OPEN_CLIP,
    SENTENCE,
    TRANSFORMERS,
    TRANSFORMERS_EMBEDDER,
)
from loopsim.presets.hosted import is_hosted
from loopsim.records import ModelSpec, Setting

_LIBRARIES: dict[str, Library] = {
    DIFFUSERS: "diffusers", TRANSFORMERS: "transformers", AUTOREGRESSIVE: "transformers", OPEN_CLIP: "open_clip",
    TRANSFORMERS_EMBEDDER: "transformers", SENTENCE: "sentence-transformers",
}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One repository that something is loaded from."""

    what: str
    """`generator`, `captioner`, `embedder`, `base`, `refiner`, `prior`, `lora`."""
    name: str
    """As the user wrote it."""
    repository: str
    """Hub id."""
    library: Library | None
    """Whose rules decide what is read; None where the files tell."""
    revision: str | None = None
    """Branch, tag or commit."""
    variant: str | None = None
    """Of the weights."""
    pickles: bool = False
    """Whether pickles may be read."""
    left_out: tuple[str, ...] = ()
    """Components of a pipeline that are not loaded."""
    file: str | None = None
    """The one file that is asked for."""
    weightless: bool = False
    """Whether nobody can say beforehand what is read beside the configurations."""

    @property
    def key(self) -> tuple[str, str, str | None]:
        """Under which its commit is kept (`revisions.Commits`)."""
        beside = self.what in ("base", "refiner", "prior", "lora")
        return self.what, self.repository if beside else self.name, self.revision


@dataclass(frozen=True)
class Found:
    """What a look at a source found."""

    source: Source
    needs: revisions.Needs
    """Of its repository."""
    weights: Weights | None
    """What would be read; None where the files do not tell."""

    @property
    def here(self) -> bool:
        """Whether nothing of it has to be downloaded."""
        known = self.weights is not None and bool(self.weights.files)
        return known and set(self.weights.files) <= self.needs.cached  # type: ignore[union-attr]

    @property
    def download_gb(self) -> float | None:
        """GB of weights that are not in the cache; None where nobody knows."""
        if self.weights is None or not self.needs.asked:
            return None
        return self.needs.gigabytes(name for name in self.weights.files if name not in self.needs.cached)


# ---- which sources ---------------------------------------------------------------------------------------------------


def sources_of(spec: ModelSpec) -> list[Source]:
    """The repositories that a generator or captioner is loaded from, with its base, refiner and LoRAs.

    Raises:
        ModelError: a name is none.
    """
    if is_hosted(spec.model):
        return []
    s, entry = spec.settings, catalog.find(spec.role, spec.model)
    common = Source(
        spec.role, spec.model, "", _LIBRARIES.get(entry.adapter),
        _text(s.get("revision")), _text(s.get("variant")), bool(s.get("allow_pickle")), _left_out(spec),
    )  # fmt: skip
    found = [replace(common, repository=entry.path())] if not entry.embedded else []
    for what in ("base", "refiner"):
        if s.get(what):
            name = str(s[what])
            alone = what == "base" and is_file(expanded(spec.model))  # gives what the file of weights lacks
            revision = common.revision if what == "base" else None
            found.append(
                replace(common, what=what, name=name, repository=locate(name), revision=revision, weightless=alone)
            )
    found += [
        Source("lora", lora.source, lora.source, "lora", pickles=common.pickles, file=lora.weight_name)
        for lora in (parse_loras(str(s["loras"])) if s.get("loras") else ())
    ]
    return [source for source in found if revisions.hub_id(source.repository)]


def sources_of_embedder(name: str) -> list[Source]:
    """The repository that an embedder is loaded from, if it is one.

    Raises:
        ModelError: there is no such embedder.
    """
    entry = catalog.find("embedder", name)
    if entry.embedded:
        return []
    library = _LIBRARIES.get(entry.adapter)
    location, file = entry.path(), None
    if revisions.hub_id(location) and embedder_kinds.is_of_open_clip(location):
        library = "open_clip"
        if not location.startswith("hf-hub:"):
            model, _, tag = location.partition("/")
            embedder_kinds.check_open_clip(name, location)
            repository, file = embedder_kinds.open_clip_source(model, tag)
            location = repository or ""
    source = Source("embedder", name, location, library, file=file)
    return [source] if revisions.hub_id(source.repository) else []


def _left_out(spec: ModelSpec) -> tuple[str, ...]:
    """Components that the settings leave out."""
    s = spec.settings
    return (() if s.get("safety_checker") else ("safety_checker",)) + (
        ("text_encoder_3",) if s.get("t5") is False else ()
    )


def _text(value: Setting) -> str | None:
    return str(value) if value else None


# ---- looking ---------------------------------------------------------------------------------------------------------


def look(source: Source) -> list[Found]:
    """What would be read of a source, and of the repositories that its card names as belonging to it.

    Raises:
        ModelError: gated or missing; pickles only, and they may not be read; no such variant or file.
        NotAtHand: neither reachable nor in the cache, or in the cache in part only.
    """
    hub = revisions.hub_id(source.repository) or source.repository
    needs = revisions.needs_of(hub, source.revision, _wanted(source), _who(source, hub))
    library = source.library or _library_of(needs)
    if library is None or source.weightless:
        return [Found(source, needs, None)]
    if library == "lora":
        return [Found(source, needs, _lora(source, needs))]
    parts: tuple[str, ...] = ()
    if library == "diffusers":
        index = read_json(hub, "model_index.json", needs.commit)
        if index is None:
            return [Found(source, needs, None)]
        parts = parts_of(index, source.left_out)
    weights = weights_of(
        library, needs.files, variant=source.variant, pickles=source.pickles, parts=parts, file=source.file
    )
    _refuse(source, needs, weights, library)
    found = [Found(source, needs, weights)]
    for prior in needs.connected if library == "diffusers" else ():
        found += look(replace(source, what="prior", name=prior, repository=prior, revision=None))
    return found


def look_at(spec: ModelSpec) -> list[Found]:
    """Refuse a generator or captioner that cannot do what is asked of it; what was found of its repositories.

    Raises:
        ModelError: as `look`, or its settings do not go with its files.
        NotAtHand: as `look`.
    """
    found = [one for source in sources_of(spec) for one in look(source)]
    models.check_model(spec)
    return found


def look_at_embedder(name: str) -> list[Found]:
    """The same of an embedder.

    Raises:
        ModelError: as `look`, or it embeds nothing.
        NotAtHand: as `look`.
    """
    found = [one for source in sources_of_embedder(name) for one in look(source)]
    models.check_embedder(name)
    return found


def _wanted(source: Source) -> Wanted:
    if source.library is None:  # an embedder whose files tell: as any of them would need
        kinds = [wanted_of(kind).include for kind in ("sentence-transformers", "open_clip")]
        return Wanted(tuple(dict.fromkeys(pattern for patterns in kinds for pattern in patterns)))
    return wanted_of(source.library, source.variant, source.file, source.left_out)


def _who(source: Source, hub: str) -> str:
    """How a message about a repository begins: with what the user wrote, where that is not the hub id."""
    return "" if source.name == hub else f"{source.what} {source.name!r}: "


def _library_of(needs: revisions.Needs) -> Library | None:
    return next((_LIBRARIES[adapter] for file, adapter in EMBEDDER_FILES.items() if file in needs.files), None)


def _lora(source: Source, needs: revisions.Needs) -> Weights:
    """The one file of a LoRA."""
    there = [name for name in needs.files if name.endswith((".safetensors", ".bin"))]
    if not needs.asked and (not there or source.file not in (None, *there)):
        raise _in_part(source, needs, "", _wanted(source))
    who = f"lora {source.name!r}"
    if source.file is None:
        return Weights((choose_lora(there, source.pickles, who),))
    if source.file not in there:
        has = ", ".join(sorted(there)[:8]) or "no weights"
        raise ModelError(f"{who}: {source.file} is not in {source.repository}, which has {has}")
    return Weights((source.file,))


def _refuse(source: Source, needs: revisions.Needs, weights: Weights, library: Library) -> None:
    if weights.pickled:
        where = ", ".join(part for part in weights.pickled if part)
        raise pickled(source.what, source.name, f"the weights{f' of {where}' if where else ''} are pickles")
    if needs.asked and source.variant is not None and weights.files and not weights.in_variant:
        raise no_variant(source.what, source.name, source.variant, weights.variants)
    if not needs.asked and source.variant is not None and weights.files and not weights.in_variant:
        raise _in_part(
            source, needs, "", _wanted(source), f" of variant {source.variant!r} (variant: native takes the plain ones)"
        )
    lacking = ", ".join(weights.lacking)
    if weights.lacking and not needs.asked:
        only = Wanted(tuple(f"{part}/*" for part in weights.lacking)) if lacking else None
        raise _in_part(source, needs, lacking, only or wanted_of(library, source.variant, source.file))
    if weights.lacking and library != "diffusers":  # whose components may have names of their own
        raise ModelError(
            f"{source.what} {source.name!r} has no weights that {library} reads: there is no model.safetensors in the "
            "repository"
        )


def _in_part(source: Source, needs: revisions.Needs, lacking: str, wanted: Wanted, more: str = "") -> NotAtHand:
    hub = revisions.hub_id(source.repository) or source.repository
    return NotAtHand(
        f"{source.what} {source.name!r}: the cache has {hub} in part only; it lacks the weights"
        f"{f' of {lacking}' if lacking else ''}{more}. {revisions.to_download(hub, source.revision, wanted)}"
    )
