"""`controls`: null arms beside every condition of the grid."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from loopsim.records import Control, ControlKind

OPTIONS: dict[str, tuple[str, ...]] = {
    "fixed_caption": (),
    "redraw": ("at",),
    "shuffled": (),
    "random_captions": ("prompts", "file"),
    "image_to_image": ("strength", "prompt"),
}
"""Kind of control to the options that it takes."""
REDRAW_AT = 1
"""The iteration whose description `redraw` keeps, where none is given: the first that a model said."""
STRENGTH = 0.5
"""Of `image_to_image`, where none is given."""


class ControlSettings(BaseModel):
    """One null arm; what an option means stands in `loopsim.records.Control`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: ControlKind
    at: int | None = Field(None, ge=0, strict=True)
    strength: float | None = Field(None, gt=0, le=1, strict=True)
    prompt: str | None = None
    prompts: list[str] | None = Field(None, min_length=1)
    file: str | None = None

    @model_validator(mode="after")
    def _fits(self) -> ControlSettings:
        given = set(self.model_dump(exclude_none=True)) - {"kind"}
        known = OPTIONS[self.kind]
        if foreign := sorted(given - set(known)):
            takes = f"takes {', '.join(known)}" if known else "takes no options"
            raise ValueError(f"{self.kind} {takes}; it is given {', '.join(foreign)}")
        if self.prompts is not None and self.file is not None:
            raise ValueError("random_captions: give prompts or a file, not both")
        if self.prompts is not None and not all(prompt.split() for prompt in self.prompts):
            raise ValueError("random_captions: one of the prompts is empty")
        return self

    def control(self, pool: tuple[str, ...]) -> Control:
        """The control; `pool` is what random captions are drawn from."""
        if self.kind == "redraw":
            return Control("redraw", at=REDRAW_AT if self.at is None else self.at)
        if self.kind == "image_to_image":
            return Control("image_to_image", strength=self.strength or STRENGTH, prompt=self.prompt or "")
        return Control(self.kind, pool=pool if self.kind == "random_captions" else ())


def to_controls(given: object) -> object:
    """The forms a person writes, `shuffled` and `{redraw: {at: 10}}`, in the shape of `ControlSettings`.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(given, (str, dict)):
        given = [given]
    if not isinstance(given, list):
        return given
    return [_one(control) for control in given]


def _one(control: object) -> Any:
    known = ", ".join(OPTIONS)
    if isinstance(control, dict) and "kind" not in control:
        if len(control) != 1:
            raise ValueError(f"controls: write each as {{KIND: {{OPTION: VALUE}}}}; the kinds are {known}")
        (name, options), *_ = control.items()
        if not isinstance(options, (dict, type(None))):
            raise ValueError(f"controls: {name}: options are a mapping, such as {{redraw: {{at: 10}}}}")
        control = {"kind": name, **(options or {})}
    elif isinstance(control, str):
        control = {"kind": control}
    if isinstance(control, dict) and control.get("kind") not in OPTIONS:
        raise ValueError(f"controls: there is no control {control.get('kind')!r}; the kinds are {known}")
    return control
