"""What each measure, model and library is to be cited by: names to keys of `loopsim.cite.references.TABLE`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_CHAIN = ("griffiths2007", "xu2010")
_MOTIFS = ("lloyd1982", "arthur2007", "chao2013")
_PANEL = ("panictda",)

MEASURES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vendi": ("friedman2023",),
        **dict.fromkeys(("vendi_q0", "vendi_q0.5", "vendi_q2", "vendi_qinf"), ("friedman2023", "pasarkar2024")),
        "vendi_rarefied": ("friedman2023", "hurlbert1971"),
        "rke": ("jalali2023",),
        "effective_rank": ("roy2007",),
        "participation_ratio": ("gao2017",),
        "growth_rate": ("moon2025",),
        **dict.fromkeys(("motif_entropy", "fine_motif_entropy"), _MOTIFS),
        **dict.fromkeys(("effective_motifs", "fine_effective_motifs"), (*_MOTIFS, "hill1973", "jost2006")),
        **dict.fromkeys(("soft_effective_motifs", "motifs_50", "motifs_90"), ("lloyd1982", "arthur2007")),
        "distinct_2": ("li2016", "hurlbert1971"),
        **dict.fromkeys(("word_entropy", "bigram_entropy"), ("hurlbert1971",)),
        "compression_ratio": ("shaib2024",),
        "self_repetition": ("salkar2022",),
        "mtld": ("mccarthy2010",),
        "clip_score": ("hessel2021",),
        **dict.fromkeys(("telephone_similarity", "mcd", "sdr"), ("mollah2025",)),
        **dict.fromkeys(("twin_distance", "seed_noise", "noise_share", "kept_per_step", "offset"), _PANEL),
        **dict.fromkeys(("prompt_fixes", "memory", "escape_time"), _PANEL),
        **dict.fromkeys(("transition_count", "transition_memory"), ("goodman1957",)),
        **dict.fromkeys(("attractor_slope", "attractor_strength", "attractor_position"), ("perez2025",)),
        **dict.fromkeys(("ar1_rate", "ar1_half_life", "ar1_mean", "ar1_deviation"), _CHAIN),
        "attribute_entropy": ("griffiths2007",),
        **dict.fromkeys(("concept_survival", "time_to_lose_origin", "origin_kept"), ("kaplan1958",)),
        **dict.fromkeys(("concept_survival_modelled", "concept_loss_rate"), ("mackenzie2003",)),
        **dict.fromkeys(("detector_miss", "detector_false_alarm"), ("youden1950",)),
        "attribution": ("hays1963", "anderson2001"),
        **dict.fromkeys(("endpoint_silhouette", "endpoint_silhouette_by_k"), ("rousseeuw1987", "lloyd1982")),
        "endpoint_gap": ("tibshirani2001",),
        **dict.fromkeys(("density_clusters", "density_noise"), ("campello2013",)),
        **dict.fromkeys(("absorbed", "cycle_contrast"), ("wang2025",)),
    }
)
"""Metric, without what stands after a colon."""

SUMMARIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("half_life", "plateau", "rate", "p_change"), ("hurvich1989",)),
        "p_equivalence": ("schuirmann1987",),
        "worst_case": ("manski1990",),
    }
)
"""What stands after the colon of a metric."""

INTERVALS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"jackknife": ("efron1981",), "bootstrap-t": ("hall1988",), "wilson": ("wilson1927",)}
)
"""Kind of interval, as signatures name it (`ci:`)."""

_LCM, _SD = ("luo2023", "rombach2022"), ("rombach2022",)

GENERATORS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("sd-1.5", "sd-2.1"), _SD),
        "sd-turbo": ("sauer2023", *_SD),
        "lcm-dreamshaper": _LCM,
        **dict.fromkeys(("sdxl", "sdxl-refined"), ("podell2023",)),
        "sdxl-turbo": ("sauer2023", "podell2023"),
        "sdxl-lightning": ("lin2024", "podell2023"),
        "sdxl-lcm": ("luo2023lora", "luo2023", "podell2023"),
        **dict.fromkeys(("sd-3", "sd-3.5-medium", "sd-3.5-large", "sd-3.5-large-turbo"), ("esser2024",)),
        **dict.fromkeys(("flux1-dev", "flux1-schnell"), ("flux2024",)),
        "pixart-sigma": ("chen2024pixart",),
        "sana-1.6b": ("xie2024sana",),
        "qwen-image": ("wu2025qwenimage",),
        "kandinsky-2.2": ("razzhigaev2023",),
        "kandinsky-3": ("arkhipkin2023",),
        **dict.fromkeys(("wuerstchen", "stable-cascade"), ("pernias2023",)),
        **dict.fromkeys(("janus-pro-1b", "janus-pro-7b"), ("chen2025januspro",)),
        "emu3": ("wang2024emu3",),
    }
)
"""Image generators by the name that `loopsim models` lists."""

_LLAVA = ("liu2023llava", "liu2023improved")

CAPTIONERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("blip-base", "blip-large"), ("li2022blip",)),
        **dict.fromkeys(("blip2-opt-2.7b", "blip2-flan-t5-xl"), ("li2023blip2",)),
        **dict.fromkeys(("instructblip-flan-t5-xl", "instructblip-vicuna-7b"), ("dai2023",)),
        **dict.fromkeys(("git-base-coco", "git-large-coco"), ("wang2022git",)),
        "kosmos-2": ("peng2023",),
        **dict.fromkeys(("florence-2-base", "florence-2-large"), ("xiao2023",)),
        "paligemma-3b": ("beyer2024",),
        **dict.fromkeys(("llava-1.5-7b", "llava-1.5-13b", "llava-1.6-mistral-7b"), _LLAVA),
        **dict.fromkeys(("llava-onevision-0.5b", "llava-onevision-7b"), ("li2024onevision",)),
        **dict.fromkeys(("qwen2-vl-2b", "qwen2-vl-7b"), ("wang2024qwen2vl",)),
        **dict.fromkeys(("qwen2.5-vl-3b", "qwen2.5-vl-7b"), ("bai2025",)),
        "idefics3-8b": ("laurencon2024",),
        **dict.fromkeys(("smolvlm-256m", "smolvlm-2.2b"), ("marafioti2025",)),
        **dict.fromkeys(("gemma-3-4b", "gemma-3-12b"), ("gemma2025",)),
        **dict.fromkeys(("internvl3-1b", "internvl3-8b"), ("zhu2025",)),
        "pixtral-12b": ("agrawal2024",),
    }
)
"""Captioners by the name that `loopsim models` lists."""

EMBEDDERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "clip-vit-b-32": ("radford2021", "cherti2023", "schuhmann2022"),
        "clip-vit-l-14": ("radford2021", "gadre2023"),
        "clip-openai-l-14": ("radford2021",),
        "siglip-so400m": ("zhai2023",),
        **dict.fromkeys(("siglip2-b-16", "siglip2-so400m"), ("tschannen2025",)),
        **dict.fromkeys(("dinov2-b", "dinov2-l"), ("oquab2023",)),
        "dinov3-b": ("simeoni2025",),
        "all-mpnet-base-v2": ("reimers2019", "song2020"),
        "all-minilm-l6-v2": ("reimers2019", "wang2020"),
    }
)
"""Embedders by the name that `loopsim models` lists."""

MODELS: Mapping[str, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"generator": GENERATORS, "captioner": CAPTIONERS, "embedder": EMBEDDERS}
)
"""Role to table."""

ADAPTERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "loopsim.models.diffusers": ("vonplaten2022", "wolf2020", "paszke2019"),
        "loopsim.models.transformers": ("wolf2020", "paszke2019"),
        "loopsim.models.autoregressive": ("wolf2020", "paszke2019"),
        "loopsim.models.transformers_embedder": ("wolf2020", "paszke2019"),
        "loopsim.models.open_clip": ("ilharco2021", "paszke2019"),
        "loopsim.models.sentence": ("wolf2020", "paszke2019"),
    }
)
"""Module of an adapter to the libraries behind it."""

MEASURING = ("harris2020", "virtanen2020", "pedregosa2011")
"""Libraries that every measurement is computed with."""
DRAWING = ("hunter2007",)
"""Libraries that figures are drawn with."""
