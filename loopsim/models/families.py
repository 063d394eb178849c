"""What is known of captioner architectures: how each is asked, and what its config.json tells before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Asking = Literal["chat", "ask", "prefix", "task", "silent"]
"""How a captioner takes its instruction.

`chat`: a message beside the picture, in the checkpoint's own chat template. `ask`: a plain question or order.
`prefix`: the beginning of the caption, which the model goes on from. `task`: one of a few fixed tasks.
`silent`: not at all.
"""

Auto = Literal["AutoModelForImageTextToText", "AutoModelForMultimodalLM", "AutoModelForCausalLM"]


@dataclass(frozen=True)
class CaptionerFamily:
    """One architecture."""

    asking: Asking = "chat"
    """How it takes an instruction."""
    default: str | None = None
    """What it is asked where the experiment says nothing; None is nothing, for `chat` a sentence with its length."""
    template: str | None = None
    """Chat template of checkpoints that come without one."""
    tasks: tuple[str, ...] = ()
    """The instructions that a `task` family knows."""
    ends_prefix: bool = False
    """Whether the tokenizer ends the instruction as if the caption were over, and the end token must go."""
    auto: Auto = "AutoModelForImageTextToText"
    """The transformers class that loads it."""


# LLaVA-1.5's own conversation, from before checkpoints carried templates.
_VICUNA = (
    "{% for message in messages %}{{ message['role'] | upper }}: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %} {% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)

FAMILIES: Mapping[str, CaptionerFamily] = MappingProxyType(
    {
        "blip": CaptionerFamily("prefix"),
        "blip-2": CaptionerFamily("prefix", ""),  # its text decides where the pictures go, so there must be one
        "git": CaptionerFamily("prefix", ends_prefix=True),
        "kosmos-2": CaptionerFamily("prefix", "An image of"),
        "instructblip": CaptionerFamily("ask", "Describe this image."),
        "paligemma": CaptionerFamily("ask", "caption en"),
        "florence2": CaptionerFamily(
            "task", "<MORE_DETAILED_CAPTION>", tasks=("<CAPTION>", "<DETAILED_CAPTION>", "<MORE_DETAILED_CAPTION>")
        ),
        "vision-encoder-decoder": CaptionerFamily("silent"),
        "pix2struct": CaptionerFamily("silent"),
        "llava": CaptionerFamily(template=_VICUNA),
        "llava_next": CaptionerFamily(template=_VICUNA),
        "phi4_multimodal": CaptionerFamily(auto="AutoModelForMultimodalLM"),
    }
)
"""`model_type` to family, where it is not a chat model that `AutoModelForImageTextToText` loads."""

UNUSABLE: Mapping[str, str] = MappingProxyType(
    {
        "diffusion_gemma": "it writes by diffusion, which cannot be sampled a token at a time",
        "emu3": "loopsim drives it as a generator only",
        "janus": "loopsim drives it as a generator only",
        "evolla": "it describes proteins, not pictures",
        "pi0": "it steers robots and describes nothing",
        "udop": "it reads documents, and needs their text beside the picture",
        "video_llava": "it describes videos",
        "llava_next_video": "it describes videos",
        "instructblipvideo": "it describes videos",
        "idefics": "its processor is of an older kind; Idefics2, Idefics3 and SmolVLM are driven",
    }
)
"""`model_type` of models that take pictures and give text, and are no captioners all the same: why."""

EMBEDDING: frozenset[str] = frozenset(
    {
        "align", "altclip", "bert", "chinese_clip", "clip", "clip_vision_model", "clipseg", "dinov2",
        "dinov2_with_registers", "dinov3_convnext", "dinov3_vit", "metaclip_2", "modernbert", "mpnet", "roberta",
        "siglip", "siglip2", "siglip_vision_model", "vit", "xlm-roberta",
    }
)  # fmt: skip
"""`model_type` of models that embed and do not write."""


def default_instruction(max_new_tokens: int, max_words: int | None) -> str:
    """What a chat model is asked where the experiment says nothing: as long a description as its budget has room for.

    A word of English takes about 1.3 tokens; 0.6 words a token leaves room, rounded down to tens.
    """
    room = max(10, int(max_new_tokens * 0.6) // 10 * 10)
    return f"Describe this image in at most {min(room, max_words or room)} words."
