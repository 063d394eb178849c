"""What an experiment file may say: the pydantic schema, every axis a list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from loopsim.experiment.controls import ControlSettings
from loopsim.experiment.starts import StartSettings
from loopsim.experiment.strict import Strict
from loopsim.experiment.values import as_axis, json_object, keys_as_text, loras_as_text
from loopsim.records import Noise, Pairing, Setting


class CaptionPrice(Strict):
    """What a hosted captioner charges, in US dollars for a million tokens; goes before what loopsim knows."""

    input: float | None = Field(None, ge=0, strict=True)
    output: float | None = Field(None, ge=0, strict=True)

    @model_validator(mode="after")
    def _some(self) -> CaptionPrice:
        if not self.model_dump(exclude_none=True):
            raise ValueError("an empty price: leave it out, or write 0 where nothing is charged")
        return self


class PicturePrice(CaptionPrice):
    """What a hosted generator charges: for each picture, for tokens, or for both."""

    image: float | None = Field(None, ge=0, strict=True)


class GeneratorSettings(Strict):
    """One generator with concrete settings; what is left out is the model's own default (`loopsim models`)."""

    model: str
    steps: int | None = Field(None, ge=1, le=1000, strict=True)
    guidance: float | None = Field(None, ge=0, le=100, strict=True)
    size: Annotated[str, Field(pattern=r"^(native|[1-9]\d*x[1-9]\d*)$")] | None = None
    negative_prompt: str | None = None
    scheduler: str | None = None
    revision: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    base: str | None = Field(None, min_length=1)
    loras: Annotated[str, BeforeValidator(loras_as_text), Field(min_length=1)] | None = None
    refiner: str | None = Field(None, min_length=1)
    refiner_start: float | None = Field(None, gt=0, lt=1, strict=True)
    t5: bool | None = Field(None, strict=True)
    style: str | None = None
    suffix: str | None = Field(None, min_length=1)
    expand: int | None = Field(None, ge=1, le=20, strict=True)
    temperature: float | None = Field(None, ge=0, le=100, strict=True)
    top_k: int | None = Field(None, ge=1, strict=True)
    safety_checker: bool | None = Field(None, strict=True)
    placement: Literal["auto", "resident", "swap", "offload"] | None = None
    compile: bool | None = Field(None, strict=True)
    trust_remote_code: bool | None = Field(None, strict=True)
    allow_pickle: bool | None = Field(None, strict=True)
    variant: str | None = Field(None, pattern=r"^\w[\w-]*$")
    request: Annotated[str, BeforeValidator(json_object)] | None = None
    price: PicturePrice | None = None
    batch_size: int | None = Field(None, ge=1, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _square(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("size"), int) and not isinstance(data["size"], bool):
            data = {**data, "size": f"{data['size']}x{data['size']}"}
        return data


class CaptionerSettings(Strict):
    """One captioner with concrete settings; what is left out is the model's own default (`loopsim models`)."""

    model: str
    instruction: str | None = None
    max_new_tokens: int | None = Field(None, ge=1, strict=True)
    max_words: int | None = Field(None, ge=1, strict=True)
    temperature: float | None = Field(None, ge=0, le=100, strict=True)
    top_p: float | None = Field(None, gt=0, le=1, strict=True)
    beams: int | None = Field(None, ge=1, strict=True)
    structured: Annotated[str, BeforeValidator(keys_as_text)] | None = None
    revision: str | None = None
    dtype: Literal["auto", "float32", "float16", "bfloat16"] | None = None
    trust_remote_code: bool | None = Field(None, strict=True)
    allow_pickle: bool | None = Field(None, strict=True)
    request: Annotated[str, BeforeValidator(json_object)] | None = None
    price: CaptionPrice | None = None
    batch_size: int | None = Field(None, ge=1, strict=True)

    @model_validator(mode="after")
    def _greedy_beams(self) -> CaptionerSettings:
        if (self.beams or 1) > 1 and (self.temperature or 0) > 0:
            raise ValueError("beams seek the likeliest caption, temperature draws: set beams: 1 or temperature: 0")
        return self


class ChainLink(Strict):
    """One element of `chain`: a generator or a captioner."""

    generator: list[GeneratorSettings] | None = None
    captioner: list[CaptionerSettings] | None = None

    @model_validator(mode="after")
    def _one_role(self) -> ChainLink:
        if (self.generator is None) == (self.captioner is None):
            raise ValueError("each link is one generator or one captioner")
        return self


class Experiment(Strict):
    """What one experiment file says, with every axis as a list."""

    name: str = Field(max_length=100, pattern=r"^[\w.-]*\w([\w .-]*[\w.-])?$")
    description: str = ""
    seed: int = Field(0, strict=True, ge=0, lt=2**63)
    iterations: int = Field(strict=True, ge=1, le=1_000_000)
    replicates: int = Field(1, strict=True, ge=1)
    noise: Annotated[list[Noise], BeforeValidator(as_axis)] = Field(["fresh"], min_length=1)
    pairing: Pairing = "common"
    cohort: int = Field(64, strict=True, ge=1)
    image_format: Literal["webp", "png", "jpeg"] = "webp"
    starts: list[StartSettings] = Field(min_length=1)
    chain: list[ChainLink] = Field(min_length=2)
    controls: list[ControlSettings] = Field(default_factory=list)
    embedders: Annotated[list[str], BeforeValidator(as_axis)] = Field(["postcards"], min_length=1)

    @model_validator(mode="after")
    def _each_embedder_once(self) -> Experiment:
        twice = next((name for name in self.embedders if self.embedders.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"embedders: names {twice!r} twice")
        return self

    @model_validator(mode="after")
    def _alternating(self) -> Experiment:
        roles = ["generator" if link.generator else "captioner" for link in self.chain]
        if roles != ["generator", "captioner"] * (len(roles) // 2):
            raise ValueError(f"chain: must alternate generator, captioner, …; it is {', '.join(roles)}")
        return self

    def resolved(self) -> dict[str, Any]:
        """Plain data that reads back to the same experiment; what a run directory keeps."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def given_settings(spec: GeneratorSettings | CaptionerSettings) -> dict[str, Setting]:
    """The settings that the experiment gives, without model, batch size and price."""
    given: Mapping[str, Setting] = spec.model_dump(exclude={"model", "batch_size", "price"}, exclude_none=True)
    return dict(given)
