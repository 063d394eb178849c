"""The vocabulary: frozen records that the other modules exchange. No behaviour beyond reading oneself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal

Role = Literal["generator", "captioner"]
Setting = str | int | float | bool | None
Noise = Literal["fresh", "fixed"]
Pairing = Literal["common", "independent"]
ControlKind = Literal["fixed_caption", "redraw", "shuffled", "random_captions", "image_to_image"]

EMPTY_CAPTION = "[empty]"
"""What stands in the store, and is drawn next, where a captioner said nothing. The step carries a flag."""


@dataclass(frozen=True)
class Price:
    """What a hosted model charges, in US dollars; None where it charges nothing of the kind, or nothing is known."""

    image: float | None = None
    """For each picture drawn."""
    input: float | None = None
    """For a million tokens read."""
    output: float | None = None
    """For a million tokens written; services that bill pictures by tokens count them here."""
    looked_up: str | None = None
    """The day on which the service's own price list said so (ISO date); None where it was not looked up there."""

    def cost(self, images: int, tokens_in: int | None, tokens_out: int | None) -> float | None:
        """Dollars for one call; None where no price is given, or the service did not say how many tokens it counted."""
        million = 1e-6
        parts = [(self.image, 1.0, images), (self.input, million, tokens_in), (self.output, million, tokens_out)]
        given = [(price * unit, count) for price, unit, count in parts if price is not None]
        if not given or any(count is None for _, count in given):
            return None
        return sum(price * (count or 0) for price, count in given)

    def in_words(self) -> str:
        """Such as `$5 a million tokens read, $30 a million tokens written (2026-11-22)`."""
        units = (
            ("a picture", self.image),
            ("a million tokens read", self.input),
            ("a million tokens written", self.output),
        )
        given = ", ".join(f"${amount:g} {unit}" for unit, amount in units if amount is not None)
        return f"{given} ({self.looked_up})" if self.looked_up else given


@dataclass(frozen=True)
class ModelSpec:
    """One model of a chain, with every setting that can change its output."""

    role: Role
    """Generator (text to image) or captioner (image to text)."""
    model: str
    """A name that `loopsim models` lists, a hub id or a directory."""
    settings: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}))
    """Resolved settings: nothing is left to a model's own default."""
    batch_size: int | None = None
    """Rows a call; None is the adapter's own. Not part of the identity."""
    price: Price | None = None
    """What a hosted model charges; None is what is known of it. Not part of the identity."""
    commits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Hub id to the commit that is loaded, of what stands beside the model: refiner, prior, LoRAs. One that is not
    named is loaded as its branch stands. Not part of the identity: what a run pinned is in its manifest."""

    def identity(self) -> dict[str, object]:
        """What belongs to the identity of a trajectory.

        A setting that is None says nothing, so a release that knows more settings gives old experiments their old ids.
        Where the weights lie changes no picture.
        """
        settings = {name: v for name, v in sorted(self.settings.items()) if v is not None and name != "placement"}
        return {"role": self.role, "model": self.model, "settings": settings}


@dataclass(frozen=True)
class Control:
    """A null arm: the loop broken in one known way."""

    kind: ControlKind
    """`fixed_caption`: the start is drawn again and again; `redraw`: the description of iteration `at` is;
    `shuffled`: descriptions change hands between trajectories; `random_captions`: each prompt is drawn from `pool`;
    `image_to_image`: each picture is made from the one before, without words."""
    at: int = 0
    """`redraw`: up to this iteration it is the plain loop."""
    strength: float = 0.0
    """`image_to_image`: from 0 (the picture stays) to 1 (nothing of it is left)."""
    prompt: str = ""
    """`image_to_image`: what is drawn beside the picture; empty for nothing."""
    pool: tuple[str, ...] = ()
    """`random_captions`: the texts."""

    @property
    def label(self) -> str:
        """The value of the factor `control`."""
        if self.kind == "redraw":
            return f"redraw@{self.at}"
        return f"image_to_image@{self.strength:g}" if self.kind == "image_to_image" else self.kind

    def identity(self) -> dict[str, object]:
        """What belongs to the identity of a trajectory."""
        said = {"at": self.at, "strength": self.strength, "prompt": self.prompt, "pool": list(self.pool)}
        return {"kind": self.kind, **{name: value for name, value in said.items() if value}}


NO_CONTROL = "none"
"""The value of the factor `control` where the loop is whole."""


def redraw_at(label: object) -> int | None:
    """The iteration after which a `redraw` begins, by the value of the factor `control`; None of any other."""
    kind, _, at = str(label).partition("@")
    return int(at) if kind == "redraw" and at.isdigit() else None


@dataclass(frozen=True)
class Condition:
    """One cell of the experiment's grid."""

    id: str
    """Short hash of the chain and the noise policy."""
    chain: tuple[ModelSpec, ...]
    """Generator, captioner, generator, captioner, … ; a trajectory cycles through it."""
    noise: Noise
    """`fresh`: new noise every iteration; `fixed`: the same noise every iteration, a deterministic map."""
    factors: Mapping[str, Setting]
    """Column name to value for everything that describes the condition (`generator`, `captioner.temperature`, …)."""
    label: str
    """The factors that vary in this experiment, readable; "all" where none does."""
    control: Control | None = None
    """How the loop is broken; None for the loop itself."""

    def pair_at(self, t: int) -> tuple[ModelSpec, ModelSpec]:
        """The generator and captioner of iteration `t` ≥ 0; t = 0 describes an image start, before the cycle begins."""
        k = ((t - 1) % (len(self.chain) // 2)) * 2
        return self.chain[k], self.chain[k + 1]


@dataclass(frozen=True)
class Start:
    """What t = 0 is."""

    id: str
    """Hash of the content; the key of the randomness."""
    kind: Literal["text", "image"]
    """Text-first or image-first."""
    text: str | None
    """The prompt (text-first), or None."""
    image: Path | None
    """The picture (image-first), or None."""
    group: str
    """A label of the kind of start (`even`, `prior`), kept as a column of the results."""
    t0: int = 0
    """Iteration at which the trajectory begins: 0, or the branching point."""
    lineage: tuple[int, str, int] | None = None
    """Where branched: experiment seed, start id and replicate of the parent, whose noise is kept."""
    parent: str | None = None
    """Where branched: `TRAJECTORY@t` of the parent step."""
    facts: Mapping[str, Setting] = field(default_factory=lambda: MappingProxyType({}), hash=False)
    """Column name to value of what is known of it beside its content: factors of a template, columns of a file."""


@dataclass(frozen=True)
class Trajectory:
    """Condition × start × replicate: the unit of analysis."""

    id: str
    """Hash of everything that changes the output."""
    condition: Condition
    """The cell of the grid."""
    start: Start
    """What t = 0 is."""
    replicate: int
    """0, 1, …"""


@dataclass(frozen=True)
class Cohort:
    """Trajectories of one condition's chain that travel in lock-step."""

    id: str
    """`c0000`, `c0001`, …, by plan order."""
    trajectories: tuple[Trajectory, ...]
    """The members, fixed by the plan."""


@dataclass(frozen=True)
class Step:
    """One iteration of one trajectory; t = t0 is the start itself, without image or without text."""

    trajectory_id: str
    """The trajectory."""
    t: int
    """Iteration: image t is drawn from text t−1, text t describes image t."""
    text_in: str | None
    """The prompt that image t was drawn from; None at the start."""
    image: bytes | None
    """The encoded picture, exactly as the captioner saw it; None for a text start."""
    text: str | None
    """The description of image t."""
    parent: str
    """Trajectory whose text t−1 was drawn; itself unless trajectories were exchanged."""
    generator_seed: int | None = None
    """Seed of the initial noise, 64 bits."""
    captioner_seed: int | None = None
    """Seed of the caption's sampling, 64 bits."""
    generator_chunk: int | None = None
    """Rows of the call that drew it, padding included: kernels round differently for other shapes."""
    captioner_chunk: int | None = None
    """Rows of the call that described it."""
    prompt_tokens: int | None = None
    """Tokens of `text_in` in the generator's text encoder, uncut."""
    caption_tokens: int | None = None
    """Tokens that the captioner produced."""
    flags: tuple[str, ...] = ()
    """Names from `FLAGS`."""
    seconds: float | None = None
    """Time of the step: its share of the calls that made it."""
    details: str | None = None
    """JSON object: what the `generator` and the `captioner` said beside their result; None where they said nothing."""


FLAGS: Mapping[str, str] = MappingProxyType(
    {
        "empty_caption": f"the captioner said nothing; {EMPTY_CAPTION} stands in its place",
        "black_image": "every pixel is (nearly) black, as safety checkers return",
        "constant_image": "every pixel has the same colour",
        "safety_checked": "the generator's safety checker took the picture away and left a black one",
        "prompt_over_limit": "the prompt has more tokens than the text encoder (of several: the one that cuts first) "
        "reads; it did not see the rest",
        "caption_truncated": "the caption was cut by max_new_tokens",
        "words_cut": "the caption was cut to max_words",
        "not_structured": "the caption was to be a JSON object and is none with the keys asked for; it is kept as text",
        "repeat": "the caption is exactly the prompt that was drawn",
    }
)
"""Flag to meaning."""


@dataclass(frozen=True)
class Failure:
    """A trajectory that could not go on; the others of its cohort did."""

    trajectory_id: str
    """The trajectory."""
    t: int
    """The iteration that failed."""
    role: Role
    """Whose call failed."""
    model: str
    """The model's name."""
    message: str
    """The exception's type and text."""
    traceback: str
    """The whole traceback."""
