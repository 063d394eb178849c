"""SDXL, LLaVA-1.5-7B and CLIP ViT-L/14 with their published shapes and random weights, saved as a user's are.

The arithmetic of a model does not depend on what its weights are, so speed can be measured where none can be
downloaded. Every token of the captioner is a word that the others know, so that its captions are as long as they seem.
`tiny` builds the same classes small, for a try on a CPU.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tf
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = [f"word{k}" for k in range(500)]
_SIZES = {"clip": (49408, 600), "llama": (32064, 600)}
"""Tokens of the vocabularies, and of the tiny ones."""
_TEMPLATE = (
    "{% for m in messages %}USER: {% for part in m['content'] %}{% if part['type'] == 'image' %}<image>{% else %}"
    "{{ part['text'] }}{% endif %}{% endfor %} ASSISTANT:{% endfor %}"
)


def saved(folder: Path, build: Callable[[Path, bool, str], Path], tiny: bool, device: str) -> Path:
    """A folder with a model, built if it is not there; it appears whole or not at all."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        parts = folder.with_name(f".building-{os.getpid()}-{folder.name}")
        try:
            torch.manual_seed(0)
            build(parts, tiny, device)
            parts.rename(folder)
        finally:
            shutil.rmtree(parts, ignore_errors=True)
    return folder


def tokenizer(limit: int, size: int, **named: str) -> Any:
    """A word-level tokenizer of `size` tokens that frames texts as CLIP's and Llama's do."""
    special = ["<pad>", "<unk>", "<s>", "</s>", *named.values()]
    words = [f"word{k}" for k in range(size - len(special))]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*special, *words])}, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.add_special_tokens(special)
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if not named else "<s> $A", special_tokens=[("<s>", 2), ("</s>", 3)]
    )
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        model_max_length=limit, extra_special_tokens=named, padding_side="left" if named else "right",
    )  # fmt: skip


def sdxl(folder: Path, tiny: bool, device: str) -> Path:
    """The shapes of stabilityai/stable-diffusion-xl-base-1.0."""
    wide = (32, 64) if tiny else (320, 640, 1280)
    size = _SIZES["clip"][tiny]
    clip = {"vocab_size": size, "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    one = (
        {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4}
        if tiny
        else {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    )
    two = one | {"projection_dim": 32, "hidden_act": "gelu"} if tiny else {
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20,
        "projection_dim": 1280, "hidden_act": "gelu"}  # fmt: skip
    down = ("DownBlock2D", "CrossAttnDownBlock2D") + (() if tiny else ("CrossAttnDownBlock2D",))
    up = (() if tiny else ("CrossAttnUpBlock2D",)) + ("CrossAttnUpBlock2D", "UpBlock2D")
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=16 if tiny else 128, block_out_channels=wide, layers_per_block=1 if tiny else 2,
            down_block_types=down, up_block_types=up, transformer_layers_per_block=(1, 2) if tiny else (1, 2, 10),
            attention_head_dim=(2, 4) if tiny else (5, 10, 20), cross_attention_dim=64 if tiny else 2048,
            addition_embed_type="text_time", addition_time_embed_dim=8 if tiny else 256,
            projection_class_embeddings_input_dim=80 if tiny else 2816, use_linear_projection=True,
        )  # fmt: skip
        vae = AutoencoderKL(
            block_out_channels=(32, 64) if tiny else (128, 256, 512, 512), layers_per_block=1 if tiny else 2,
            down_block_types=("DownEncoderBlock2D",) * (2 if tiny else 4), sample_size=32 if tiny else 1024,
            up_block_types=("UpDecoderBlock2D",) * (2 if tiny else 4), latent_channels=4, scaling_factor=0.13025,
            force_upcast=False,
        )  # fmt: skip
        texts = (
            tf.CLIPTextModel(tf.CLIPTextConfig(**clip, **one)),
            tf.CLIPTextModelWithProjection(tf.CLIPTextConfig(**clip, **two)),
        )
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading"
    )
    pipe = StableDiffusionXLPipeline(
        vae=vae, text_encoder=texts[0], text_encoder_2=texts[1], tokenizer=tokenizer(77, size),
        tokenizer_2=tokenizer(77, size), unet=unet, scheduler=scheduler,
    )  # fmt: skip
    pipe.to(torch.float32 if tiny else torch.bfloat16).save_pretrained(folder)
    return folder


def llava(folder: Path, tiny: bool, device: str) -> Path:
    """The shapes of llava-hf/llava-1.5-7b-hf: Llama 2 7B and CLIP ViT-L/14 at 336 pixels."""
    words = tokenizer(4096, _SIZES["llama"][tiny], image_token="<image>")
    text = (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        if tiny
        else {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
    )
    vision = (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4}
        if tiny
        else {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    )
    side = 28 if tiny else 336
    config = tf.LlavaConfig(
        text_config=tf.LlamaConfig(
            vocab_size=_SIZES["llama"][tiny], max_position_embeddings=4096, pad_token_id=0, bos_token_id=2,
            eos_token_id=3, **text,
        ),
        vision_config=tf.CLIPVisionConfig(
            image_size=side, patch_size=14, projection_dim=vision["hidden_size"], **vision
        ),
        image_token_index=words.convert_tokens_to_ids("<image>"), image_seq_length=(side // 14) ** 2,
    )  # fmt: skip
    with torch.device(device):
        model = tf.LlavaForConditionalGeneration._from_config(config, dtype=torch.float32 if tiny else torch.bfloat16)
    pictures = tf.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    processor = tf.LlavaProcessor(
        pictures, words, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=_TEMPLATE,
    )  # fmt: skip
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def clip(folder: Path, tiny: bool, device: str) -> Path:
    """The shapes of openai/clip-vit-large-patch14, in float32 as loopsim embeds."""
    words = tokenizer(77, _SIZES["clip"][tiny])
    text = (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        if tiny
        else {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    )
    vision = (
        {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
        if tiny
        else {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    )
    side = 28 if tiny else 224
    width = 32 if tiny else 768
    tokens = {"vocab_size": len(words), "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0}
    config = tf.CLIPConfig(
        text_config={**tokens, **text, "projection_dim": width, "max_position_embeddings": 77},
        vision_config={**vision, "image_size": side, "patch_size": 14, "projection_dim": width},
        projection_dim=width,
    )
    with torch.device(device):
        model = tf.CLIPModel(config)
    pictures = tf.CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
    model.save_pretrained(folder)
    tf.CLIPProcessor(pictures, words).save_pretrained(folder)
    return folder
