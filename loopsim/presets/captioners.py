"""Captioners known by name, and what any captioner does where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from loopsim.presets.entry import TRANSFORMERS, Entry
from loopsim.records import Setting

CAPTIONER_DEFAULTS: Mapping[str, Setting] = {
    "instruction": None, "max_new_tokens": 64, "max_words": None, "temperature": 0.0, "top_p": 1.0, "beams": 1,
    "structured": None, "revision": None, "dtype": "auto", "trust_remote_code": None, "allow_pickle": None,
}  # fmt: skip
"""What a captioner does where neither the experiment nor the model's entry says otherwise."""

_CHAT: Mapping[str, Setting] = {"max_new_tokens": 96}
"""Room for the fifty words that a chat model is asked for where the experiment says nothing else."""


def _transformers(
    name: str, location: str, note: str, family: str, licence: str, vram_gb: float | None,
    defaults: Mapping[str, Setting] = MappingProxyType({}), gated: bool = False,
) -> Entry:  # fmt: skip
    return Entry(
        name, "captioner", TRANSFORMERS, location, note, defaults, family=family, licence=licence, vram_gb=vram_gb,
        gated=gated,
    )  # fmt: skip


_APACHE, _BSD, _MIT = "Apache 2.0", "BSD 3-Clause", "MIT"

CAPTIONERS: tuple[Entry, ...] = (
    _transformers("postcards", "package:models/postcards/captioner",
                  "BLIP of a small drawn world, names all five attributes", "BLIP", _APACHE, 0.1,
                  {"max_new_tokens": 30}),
    _transformers("postcards-flat", "package:models/postcards/captioner-flat",
                  "the same, from a world where everything is equally common", "BLIP", _APACHE, 0.1,
                  {"max_new_tokens": 30}),
    _transformers("postcards-terse", "package:models/postcards/captioner-terse",
                  "BLIP of the same world as postcards, names two or three attributes", "BLIP", _APACHE, 0.1,
                  {"max_new_tokens": 30}),
    Entry("mock", "captioner", "loopsim.models.mock:MockCaptioner", "", "words from the pixels, instant"),
    _transformers("blip-base", "Salesforce/blip-image-captioning-base", "BLIP base, short captions", "BLIP", _BSD, 0.5),
    _transformers("blip-large", "Salesforce/blip-image-captioning-large", "BLIP large, short captions",
                  "BLIP", _BSD, 1),
    _transformers("blip2-opt-2.7b", "Salesforce/blip2-opt-2.7b", "BLIP-2 with OPT 2.7 B, short captions",
                  "BLIP-2", _MIT, 8),
    _transformers("blip2-flan-t5-xl", "Salesforce/blip2-flan-t5-xl", "BLIP-2 with Flan-T5 XL, short captions",
                  "BLIP-2", _MIT, 8),
    _transformers("instructblip-flan-t5-xl", "Salesforce/instructblip-flan-t5-xl", "InstructBLIP with Flan-T5 XL",
                  "InstructBLIP", _MIT, 9, _CHAT),
    _transformers("instructblip-vicuna-7b", "Salesforce/instructblip-vicuna-7b", "InstructBLIP with Vicuna 7 B",
                  "InstructBLIP", "non-commercial (Vicuna, LLaMA)", 16, _CHAT),
    _transformers("git-base-coco", "microsoft/git-base-coco", "GIT base, short captions", "GIT", _MIT, 0.5),
    _transformers("git-large-coco", "microsoft/git-large-coco", "GIT large, short captions", "GIT", _MIT, 1),
    _transformers("kosmos-2", "microsoft/kosmos-2-patch14-224", "Kosmos-2, goes on from a beginning",
                  "Kosmos-2", _MIT, 4),
    _transformers("florence-2-base", "florence-community/Florence-2-base", "Florence-2 base, a paragraph",
                  "Florence-2", _MIT, 0.5, {"max_new_tokens": 128}),
    _transformers("florence-2-large", "florence-community/Florence-2-large", "Florence-2 large, a paragraph",
                  "Florence-2", _MIT, 2, {"max_new_tokens": 128}),
    _transformers("paligemma-3b", "google/paligemma-3b-mix-448", "PaliGemma 3 B mix, short captions",
                  "PaliGemma", "Gemma", 6, gated=True),
    _transformers("llava-1.5-7b", "llava-hf/llava-1.5-7b-hf", "LLaVA-1.5 7 B", "LLaVA", "Llama 2 Community", 15, _CHAT),
    _transformers("llava-1.5-13b", "llava-hf/llava-1.5-13b-hf", "LLaVA-1.5 13 B",
                  "LLaVA", "Llama 2 Community", 27, _CHAT),
    _transformers("llava-1.6-mistral-7b", "llava-hf/llava-v1.6-mistral-7b-hf", "LLaVA-1.6 (NeXT) with Mistral 7 B",
                  "LLaVA-NeXT", _APACHE, 16, _CHAT),
    _transformers("llava-onevision-0.5b", "llava-hf/llava-onevision-qwen2-0.5b-ov-hf", "LLaVA-OneVision 0.5 B",
                  "LLaVA-OneVision", _APACHE, 2, _CHAT),
    _transformers("llava-onevision-7b", "llava-hf/llava-onevision-qwen2-7b-ov-hf", "LLaVA-OneVision 7 B",
                  "LLaVA-OneVision", _APACHE, 17, _CHAT),
    _transformers("qwen2-vl-2b", "Qwen/Qwen2-VL-2B-Instruct", "Qwen2-VL 2 B", "Qwen2-VL", _APACHE, 5, _CHAT),
    _transformers("qwen2-vl-7b", "Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL 7 B", "Qwen2-VL", _APACHE, 17, _CHAT),
    _transformers("qwen2.5-vl-3b", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2.5-VL 3 B",
                  "Qwen2.5-VL", "Qwen Research", 8, _CHAT),
    _transformers("qwen2.5-vl-7b", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL 7 B", "Qwen2.5-VL", _APACHE, 17, _CHAT),
    _transformers("qwen3-vl-2b", "Qwen/Qwen3-VL-2B-Instruct", "Qwen3-VL 2 B", "Qwen3-VL", _APACHE, 5, _CHAT),
    _transformers("qwen3-vl-4b", "Qwen/Qwen3-VL-4B-Instruct", "Qwen3-VL 4 B", "Qwen3-VL", _APACHE, 9, _CHAT),
    _transformers("qwen3-vl-8b", "Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL 8 B", "Qwen3-VL", _APACHE, 18, _CHAT),
    _transformers("idefics3-8b", "HuggingFaceM4/Idefics3-8B-Llama3", "Idefics3 8 B", "Idefics3", _APACHE, 17, _CHAT),
    _transformers("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct", "SmolVLM 256 M", "SmolVLM", _APACHE, 1, _CHAT),
    _transformers("smolvlm-2.2b", "HuggingFaceTB/SmolVLM-Instruct", "SmolVLM 2.2 B", "SmolVLM", _APACHE, 5, _CHAT),
    _transformers("gemma-3-4b", "google/gemma-3-4b-it", "Gemma 3 4 B", "Gemma 3", "Gemma", 9, _CHAT, gated=True),
    _transformers("gemma-3-12b", "google/gemma-3-12b-it", "Gemma 3 12 B", "Gemma 3", "Gemma", 25, _CHAT, gated=True),
    _transformers("gemma-4-e2b", "google/gemma-4-E2B-it", "Gemma 4 E2B", "Gemma 4", _APACHE, 12, _CHAT),
    _transformers("internvl3-1b", "OpenGVLab/InternVL3-1B-hf", "InternVL3 1 B", "InternVL", "Qwen", 2, _CHAT),
    _transformers("internvl3-8b", "OpenGVLab/InternVL3-8B-hf", "InternVL3 8 B", "InternVL", "Qwen", 16, _CHAT),
    _transformers("pixtral-12b", "mistral-community/pixtral-12b", "Pixtral 12 B", "Pixtral", _APACHE, 26, _CHAT),
    _transformers("mistral-small-3.1-24b", "mistralai/Mistral-Small-3.1-24B-Instruct-2503", "Mistral Small 3.1 24 B",
                  "Mistral 3", _APACHE, 49, _CHAT),
)  # fmt: skip
"""Every captioner known by name."""
