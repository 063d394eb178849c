"""Loaded models, handed out by spec; loading one may put another away."""

from __future__ import annotations

from collections.abc import Callable

from loopsim import models
from loopsim.models.base import Captioner, Chunks, ImageGenerator, free_memory, out_of_memory
from loopsim.models.hosted.meter import Meter, Metered
from loopsim.models.revisions import NO_COMMITS, Commits, pinned_spec
from loopsim.presets.entry import WEIGHT_SETTINGS
from loopsim.records import ModelSpec
from loopsim.seeds import digest


class ModelPool:
    """Loaded models, handed out by spec; conditions that differ in settings share the weights.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`.
        room: how many stay loaded; None is all, until the device runs out of memory: then one at a time.
        on_load: called with a line about each model that is loaded.

    Attributes:
        commits: of hub models; what has none is loaded at the revision that the spec says.
        meter: where calls to hosted models are counted.
    """

    def __init__(
        self, device: str = "auto", room: int | None = None, on_load: Callable[[str], None] | None = None
    ) -> None:
        self.device, self.room, self.on_load = device, room, on_load
        self.commits: Commits = NO_COMMITS
        self.meter = Meter()
        self._loaded: dict[str, ImageGenerator | Captioner] = {}
        self._told: dict[int, int] = {}

    def _key(self, spec: ModelSpec) -> str:
        weights = {name: spec.settings.get(name) for name in WEIGHT_SETTINGS}
        return digest({"role": spec.role, "model": spec.model, "batch_size": spec.batch_size, **weights})

    def loaded(self, spec: ModelSpec) -> bool:
        """Whether asking for it sends none away: with room for all, cohorts are carried on one after the other."""
        return self.room is None or self._key(pinned_spec(spec, self.commits)) in self._loaded

    def generator(self, spec: ModelSpec) -> ImageGenerator:
        """The loaded generator, set to the spec.

        Raises:
            ModelError: it cannot be loaded.
        """
        model = self._get(spec)
        assert isinstance(model, ImageGenerator)
        return model

    def captioner(self, spec: ModelSpec) -> Captioner:
        """The loaded captioner, set to the spec.

        Raises:
            ModelError: it cannot be loaded.
        """
        model = self._get(spec)
        assert isinstance(model, Captioner)
        return model

    def described(self) -> list[dict[str, object]]:
        """What each loaded model pinned, for the log."""
        return [{"adapter": type(m).__name__, **m.describe_settings(), **_rows(m)} for m in self._loaded.values()]

    def _get(self, spec: ModelSpec) -> ImageGenerator | Captioner:
        spec = pinned_spec(spec, self.commits)  # what is loaded is what the manifest says
        key = self._key(spec)
        if key not in self._loaded:
            if self.room is not None and len(self._loaded) >= self.room:
                self._loaded.clear()
            if self.on_load is not None:
                self.on_load(f"loading {spec.role} {spec.model}")
            full = False
            try:
                self._loaded[key] = self._load(spec)
            except RuntimeError as error:
                if not out_of_memory(error) or not self._loaded:
                    raise
                full = True
            if full:  # outside the handler, whose traceback would hold on to the half-loaded model
                self._loaded.clear()
                free_memory()
                self.room = 1
                if self.on_load is not None:
                    self.on_load("the models do not fit on the device together: swapping them, cohorts take turns")
                self._loaded[key] = self._load(spec)
        model = self._loaded[key]
        if isinstance(model, Metered):
            model.meter = self.meter
        model.configure(spec.settings)
        self._tell_of_memory(spec, model)
        while model.notices and self.on_load is not None:
            self.on_load(model.notices.pop(0))
        return model

    def _load(self, spec: ModelSpec) -> ImageGenerator | Captioner:
        load = models.load_generator if spec.role == "generator" else models.load_captioner
        return load(spec, self.device)

    def _tell_of_memory(self, spec: ModelSpec, model: ImageGenerator | Captioner) -> None:
        """Say once that a model goes on with fewer rows a call."""
        chunks = getattr(model, "chunks", None)
        if not isinstance(chunks, Chunks) or chunks.too_many is None or self._told.get(id(model)) == chunks.limit:
            return
        self._told[id(model)] = chunks.limit
        if self.on_load is not None:
            self.on_load(
                f"{spec.role} {spec.model}: out of memory at {chunks.too_many} rows a call, so it goes on with "
                f"{chunks.limit}: with the same randomness, though a last digit may round otherwise. batch_size: "
                f"{chunks.limit} begins there"
            )


def _rows(model: ImageGenerator | Captioner) -> dict[str, object]:
    """How many rows a call has, and how many were too many."""
    chunks = getattr(model, "chunks", None)
    if not isinstance(chunks, Chunks):
        return {}
    return {"batch_size": chunks.limit, "out_of_memory_at": chunks.too_many}
