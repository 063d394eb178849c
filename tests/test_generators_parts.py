"""What is put on a generator: weights on a base, LoRAs, a refiner, styles; where it lies and how it computes."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from loopsim import catalog
from loopsim.errors import ModelError, OtherExperimentError
from loopsim.experiment import parse_experiment
from loopsim.models import check_model, load_generator
from loopsim.models import generator_memory as memory
from loopsim.models.loras import Lora, parse_loras
from loopsim.plan import make_plan
from loopsim.presets.entry import DIFFUSERS, Entry
from loopsim.presets.styles import EXPANSION, STYLES, drawn_prompt, negative_of
from loopsim.records import ModelSpec
from loopsim.runner import ModelPool, notices, run_plan
from tests import tiny_generators as tiny
from tests.test_generators import far, spec_for, tiny_dir

__all__ = ["tiny_dir"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")


def draw(path: Path, name: str, **more: object) -> np.ndarray:
    return load_generator(spec_for(path, name, **more), "cpu").generate(tiny.PROMPTS[:2], [1, 2])[0].pixels


@pytest.fixture(scope="module")
def plain(tiny_dir):
    return draw(tiny_dir("sd"), "sd")


# ---- LoRAs -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lora(tiny_dir, tmp_path_factory) -> Path:
    """A LoRA file for the tiny SD, as trainers save them."""
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    torch.manual_seed(1)
    unet = diffusers.UNet2DConditionModel.from_pretrained(tiny_dir("sd"), subfolder="unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    folder = tmp_path_factory.mktemp("lora")
    diffusers.StableDiffusionPipeline.save_lora_weights(folder, get_peft_model_state_dict(unet))
    return folder / "pytorch_lora_weights.safetensors"


def test_a_lora_changes_the_picture_by_its_scale_and_not_at_0(tiny_dir, lora, plain):
    path = tiny_dir("sd")
    full, half, none = (draw(path, "sd", loras=f"{lora}@{scale}") for scale in (1, 0.5, 0))
    assert far(full, plain) > 0
    assert far(full, half) > 0
    assert far(none, plain) <= 1
    np.testing.assert_array_equal(draw(path, "sd", loras=str(lora)), full)
    np.testing.assert_array_equal(draw(path, "sd", loras=f"{lora.parent}@1"), full)


def test_two_loras_add_up(tiny_dir, lora):
    path = tiny_dir("sd")
    assert far(draw(path, "sd", loras=f"{lora}@0.5 + {lora}@0.5"), draw(path, "sd", loras=f"{lora}@1")) <= 1


def test_loras_are_mixed_in_so_that_a_step_costs_nothing_more(tiny_dir, lora):
    generator = load_generator(spec_for(tiny_dir("sd"), "sd", loras=str(lora)), "cpu")
    assert not any("lora" in name for name, _ in generator.pipe.unet.named_modules())
    assert generator.describe_settings()["loras"] == str(lora)


def test_a_lora_of_another_base_is_refused(tiny_dir, lora):
    with pytest.raises(ModelError, match=r"lora .* (made for another base|cannot be loaded)"):
        draw(tiny_dir("sdxl"), "sdxl", loras=str(lora))


def test_a_pipeline_that_takes_no_loras_says_so(tiny_dir, lora):
    with pytest.raises(ModelError, match="a PixArtSigmaPipeline takes no loras; leave loras out"):
        draw(tiny_dir("pixart"), "pixart", loras=str(lora))


def test_a_pickled_lora_is_not_opened(tiny_dir, lora, tmp_path):
    torch.save(load_file(lora), tmp_path / "mine.bin")
    with pytest.raises(ModelError, match=r"lora .*mine.bin' is a pickle \(mine\.bin\).*write allow_pickle: true"):
        draw(tiny_dir("sd"), "sd", loras=str(tmp_path / "mine.bin"))
    allowed = draw(tiny_dir("sd"), "sd", loras=str(tmp_path / "mine.bin"), allow_pickle=True)
    np.testing.assert_array_equal(allowed, draw(tiny_dir("sd"), "sd", loras=str(lora)))


def test_without_peft_the_command_that_installs_it_is_named(tiny_dir, lora, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "peft" else real(name, *a))
    with pytest.raises(ModelError, match=re.escape('pip install "loopsim[lora]"')):
        draw(tiny_dir("sd"), "sd", loras=str(lora))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a/b", [Lora("a/b", None, 1.0)]),
        ("a/b@0.75", [Lora("a/b", None, 0.75)]),
        ("a/b@-1", [Lora("a/b", None, -1.0)]),
        ("a/b/deep/x.safetensors@2 + c/d", [Lora("a/b", "deep/x.safetensors", 2.0), Lora("c/d", None, 1.0)]),
    ],
)
def test_loras_are_read_as_they_are_written(text, expected):
    assert parse_loras(text) == expected


@pytest.mark.parametrize("text", ["nothing", "./gone.safetensors", "a/b@strong", "a/b + "])
def test_what_is_no_lora_is_refused(text):
    with pytest.raises(ModelError, match="there is no such file; a LoRA is"):
        parse_loras(text)


def loras_of(value: object) -> list[object]:
    experiment = parse_experiment(
        {"name": "t", "iterations": 1, "starts": ["a b"], "captioner": "mock",
         "generator": {"model": "mock", "loras": value}}
    )  # fmt: skip
    return [cell.loras for cell in experiment.chain[0].generator or ()]


def test_a_list_of_loras_is_one_value_and_a_list_of_lists_is_an_axis():
    assert loras_of("a/b@1") == ["a/b@1"]
    assert loras_of(["a/b@1", "c/d"]) == ["a/b@1 + c/d"]
    assert loras_of([["a/b@1", "c/d"], ["e/f"], None]) == ["a/b@1 + c/d", "e/f", None]


# ---- weights on a base -----------------------------------------------------------------------------------------------


def test_a_component_takes_its_place_in_the_base(tiny_dir, tmp_path, plain):
    path = tiny_dir("sd")
    shutil.copytree(path / "unet", tmp_path / "mine")
    np.testing.assert_array_equal(draw(tmp_path / "mine", "sd", base=str(path)), plain)
    torch.manual_seed(5)
    tiny.sd_unet().save_pretrained(tmp_path / "other")
    assert far(draw(tmp_path / "other", "sd", base=str(path)), plain) > 5


def test_a_single_file_takes_its_configuration_from_the_base(tiny_dir, tmp_path, plain):
    path = tiny_dir("sd")
    tiny.save_as_single_file(path, tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(draw(tmp_path / "mine.safetensors", "sd", base=str(path)), plain)


@pytest.mark.parametrize("kept", ["model.diffusion_model", "model.diffusion_model first_stage_model"])
def test_what_a_single_file_lacks_comes_from_the_base(tiny_dir, tmp_path, plain, kept):
    # So the files of big models are shared: the network alone, without the text encoders that all have in common.
    tiny.save_as_single_file(tiny_dir("sd"), tmp_path / "whole.safetensors")
    weights = load_file(tmp_path / "whole.safetensors")
    save_file({k: v for k, v in weights.items() if k.startswith(tuple(kept.split()))}, tmp_path / "part.safetensors")
    np.testing.assert_array_equal(draw(tmp_path / "part.safetensors", "sd", base=str(tiny_dir("sd"))), plain)


def test_a_pipeline_without_safetensors_is_refused_unless_pickles_are_allowed(tiny_dir, tmp_path, plain):
    shutil.copytree(tiny_dir("sd"), tmp_path / "mine")
    file = tmp_path / "mine" / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    with pytest.raises(ModelError, match=r"are pickles.*, which can run code .*write allow_pickle: true"):
        draw(tmp_path / "mine", "sd")
    np.testing.assert_array_equal(draw(tmp_path / "mine", "sd", allow_pickle=True), plain)


def test_a_preset_may_be_one_component_on_another_presets_pipeline(tmp_path, monkeypatch):
    # As the further embedded generators are: a UNet of their own, all else from the shipped pipeline.
    torch.manual_seed(2)
    unet = diffusers.UNet2DConditionModel.from_pretrained(Path(catalog.find("generator", "postcards").path()) / "unet")
    for parameter in unet.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    unet.half().save_pretrained(tmp_path / "flat" / "unet")
    row = Entry(
        "postcards-tiny", "generator", DIFFUSERS, f"package:{tmp_path}/flat/unet", "as postcards, another world",
        {"base": "postcards", "steps": 2, "guidance": 2.0}, "Stable Diffusion", "64x64", "Apache 2.0", 32, 0.1,
    )  # fmt: skip
    monkeypatch.setattr(catalog, "ENTRIES", (*catalog.ENTRIES, row))
    assert row.embedded
    raw = {
        "name": "try", "iterations": 1, "starts": ["two red boats by the sea"], "captioner": "mock",
        "generator": [{"model": "postcards", "steps": 2}, "postcards-tiny"],
    }  # fmt: skip
    experiment = parse_experiment(raw)
    assert experiment.embedders == ["postcards"]  # the judge of the same small world
    plan = make_plan(experiment)
    assert not [line for line in notices(plan) if "knows nothing beyond" in line]
    run = run_plan(plan, tmp_path / "run", device="cpu", threads=1, pool=ModelPool("cpu"))
    assert run.steps(["image", "t"], images=True).query("t == 1")["image"].map(lambda i: i["bytes"]).nunique() == 2
    (mine,) = (m for m in run.manifest["provenance"]["models"] if m["model"] == "postcards-tiny")
    assert sorted(mine["files"]) == ["config.json", "diffusion_pytorch_model.safetensors"]
    (base,) = mine["parts"]
    assert base["part"] == "base"
    assert {"model_index.json", "vae/config.json", "unet/config.json"} <= set(base["files"])
    with pytest.raises(ModelError, match="scheduler 'Euler': this generator can use"):
        check_model(ModelSpec("generator", "postcards-tiny", catalog.settings_of(
            "generator", "postcards-tiny", {"scheduler": "Euler"})))  # fmt: skip
    config = tmp_path / "flat" / "unet" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(OtherExperimentError, match=r"other files of the generator postcards-tiny: config\.json"):
        run_plan(plan, tmp_path / "run", device="cpu")
    shutil.rmtree(tmp_path / "flat")
    with pytest.raises(ModelError, match="'postcards-tiny' is not in this installation of loopsim; install it anew"):
        run_plan(plan, tmp_path / "other", device="cpu")
    assert not (tmp_path / "other").exists()


# ---- refiner ---------------------------------------------------------------------------------------------------------


def test_a_refiner_goes_on_where_the_base_leaves_off(tiny_dir):
    path, refiner = tiny_dir("sdxl"), tiny_dir("sdxl-refiner")
    without = draw(path, "sdxl", steps=5)
    late, early = (draw(path, "sdxl", steps=5, refiner=str(refiner), refiner_start=s) for s in (0.8, 0.4))
    assert far(without, late) > 0
    assert far(early, late) > 0
    np.testing.assert_array_equal(draw(path, "sdxl", steps=5, refiner=str(refiner)), late)


def test_a_refined_picture_is_the_same_alone_and_among_others(tiny_dir):
    generator = load_generator(
        spec_for(tiny_dir("sdxl"), "sdxl", steps=4, refiner=str(tiny_dir("sdxl-refiner"))), "cpu"
    )
    together = generator.generate(tiny.PROMPTS, [1, 2, 3, 4])
    for k, prompt in enumerate(tiny.PROMPTS):
        assert far(generator.generate([prompt], [k + 1])[0].pixels, together[k].pixels) <= 1


# ---- without T5 ------------------------------------------------------------------------------------------------------


def test_stable_diffusion_3_draws_without_its_t5_where_that_is_asked_for(tiny_dir):
    path = tiny_dir("sd3")
    generator = load_generator(spec_for(path, "sd3", t5=False), "cpu")
    assert generator.pipe.text_encoder_3 is None
    assert generator.pipe.tokenizer_3 is None
    assert generator.describe_settings()["t5"] is False
    assert generator.token_limit == 77
    mine = generator.generate(tiny.PROMPTS, [1, 2, 3, 4])
    assert far(mine[0].pixels, draw(path, "sd3")) > 0
    for k, prompt in enumerate(tiny.PROMPTS):
        assert far(generator.generate([prompt], [k + 1])[0].pixels, mine[k].pixels) <= 1
    np.testing.assert_array_equal(draw(path, "sd3", t5=True), draw(path, "sd3"))


def test_a_checkpoint_that_came_without_it_draws_the_same(tiny_dir, tmp_path):
    # As `sd3-no-t5` is saved: the same pipeline, with nothing in T5's place.
    shutil.copytree(tiny_dir("sd3"), tmp_path / "mine")
    tiny.edit(tmp_path / "mine" / "model_index.json", text_encoder_3=[None, None], tokenizer_3=[None, None])
    left_out = draw(tiny_dir("sd3"), "sd3", t5=False)
    np.testing.assert_array_equal(draw(tmp_path / "mine", "sd3"), left_out)
    np.testing.assert_array_equal(draw(tmp_path / "mine", "sd3", t5=False), left_out)


def test_with_and_without_t5_are_two_conditions_and_two_models_in_memory(tiny_dir, tmp_path):
    experiment = parse_experiment(
        {
            "name": "try", "iterations": 1, "starts": tiny.PROMPTS[:2], "captioner": "mock", "embedders": "mock",
            "generator": {"model": str(tiny_dir("sd3")), "steps": 1, "t5": [True, False]},
        }
    )  # fmt: skip
    plan = make_plan(experiment)
    assert [condition.label for condition in plan.conditions] == ["t5=True", "t5=False"]
    run = run_plan(plan, tmp_path / "run", device="cpu", threads=1, pool=ModelPool("cpu"))
    (end,) = (event for event in run.events() if event["event"] == "end")
    assert sorted(str(m.get("t5")) for m in end["models"] if m["adapter"] == "DiffusersGenerator") == ["False", "True"]


# ---- styles ----------------------------------------------------------------------------------------------------------


def test_styles_are_what_they_were():
    # Other words under an old name would change what an experiment of the same id draws.
    content = [{name: [style.positive, style.negative] for name, style in STYLES.items()}, EXPANSION]
    whole = json.dumps(content, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(whole.encode()).hexdigest()[:16] == "e3ef927f2e47d78d"
    assert all(style.positive.count("{prompt}") == 1 for style in STYLES.values())
    assert STYLES["anime"].positive == "{prompt}, anime, clean line art, cel shading, bright colours"


def test_the_drawn_prompt_is_style_then_suffix_then_expansion():
    settings = {"style": "ink-drawing", "suffix": "on paper", "expand": 2}
    text = drawn_prompt("a boat", 7, settings)
    head = "an ink drawing of a boat, black lines on white paper, hatching, on paper, "
    assert text.startswith(head)
    words = text.removeprefix(head).split(", ")
    assert len(set(words)) == 2
    assert set(words) <= set(EXPANSION)
    assert drawn_prompt("a boat", 7, settings) == text
    assert len({drawn_prompt("a boat", seed, settings) for seed in range(20)}) > 10
    assert drawn_prompt("a boat", 7, {}) == "a boat"
    assert drawn_prompt("{prompt} {x}", 7, {"style": "anime"}).startswith("{prompt} {x}, anime")
    assert drawn_prompt("a boat", 7, {"expand": 3}).startswith("a boat, ")


def test_the_expansion_of_a_seed_is_what_it_was():
    assert drawn_prompt("", 7, {"expand": 4}) == ", clear, warm tones, fine texture, crisp"


def test_a_styles_negative_part_joins_the_users():
    assert negative_of({"negative_prompt": "blur", "style": "comic"}) == "blur, photograph, render"
    assert negative_of({"style": "comic"}) == "photograph, render"
    assert negative_of({"negative_prompt": "", "style": None}) == ""


def test_a_style_is_drawn_and_recorded_and_text_in_stays_the_prompt(tiny_dir, tmp_path, plain):
    path = tiny_dir("sd")
    styled = {"style": "anime", "suffix": "on paper", "expand": 2}
    assert far(draw(path, "sd", **styled), plain) > 0
    experiment = parse_experiment(
        {
            "name": "try", "iterations": 2, "starts": tiny.PROMPTS[:2], "captioner": "mock", "embedders": "mock",
            "generator": {"model": str(path), "steps": 2, "guidance": 4.0, **styled},
        }
    )  # fmt: skip
    run = run_plan(make_plan(experiment), tmp_path / "run", device="cpu", threads=1, pool=ModelPool("cpu"))
    drawn = run.steps().query("t > 0")
    assert set(tiny.PROMPTS[:2]) <= set(drawn["text_in"])
    assert not drawn["text_in"].str.contains("anime").any()
    for row in drawn.to_dict("records"):
        expected = drawn_prompt(row["text_in"], int(row["generator_seed"]), styled)
        assert json.loads(row["details"])["generator"]["prompt"] == expected
    described = [model for event in run.events() for model in event.get("models") or () if "style" in model]
    assert described[0]["style"] == "anime"


def test_a_styles_words_count_as_tokens(tiny_dir):
    generator = load_generator(spec_for(tiny_dir("sd"), "sd", style="anime"), "cpu")
    before = generator.count_tokens(["two red birds"])[0]
    generator.generate(["two red birds"], [1])
    assert generator.count_tokens(["two red birds"])[0] > before + 5


# ---- safety checker --------------------------------------------------------------------------------------------------


def test_a_safety_checker_is_left_out_and_that_is_said(tiny_dir):
    generator = load_generator(spec_for(tiny_dir("sd-checked"), "sd"), "cpu")
    assert generator.pipe.safety_checker is None
    assert generator.describe_settings()["safety_checker"] is False
    assert any(
        "safety checker is left out" in line and "safety_checker: true keeps it" in line for line in generator.notices
    )


def test_a_kept_safety_checker_flags_what_it_takes_away(tiny_dir, monkeypatch, tmp_path):
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    def strict(self, clip_input, images):
        images = images.copy() if isinstance(images, np.ndarray) else images.clone()
        images[0] = 0.0
        return images, [True] + [False] * (len(images) - 1)

    generator = load_generator(spec_for(tiny_dir("sd-checked"), "sd", safety_checker=True), "cpu")
    assert type(generator.pipe.safety_checker).__name__ == "StableDiffusionSafetyChecker"
    assert generator.describe_settings()["safety_checker"] is True
    assert any("safety checker is kept" in line for line in generator.notices)
    monkeypatch.setattr(StableDiffusionSafetyChecker, "forward", strict)
    drawn = generator.generate(tiny.PROMPTS, [1, 2, 3, 4])
    assert [d.flags for d in drawn] == [("safety_checked",), (), (), ()]
    experiment = parse_experiment(
        {"name": "try", "iterations": 1, "starts": tiny.PROMPTS, "captioner": "mock", "embedders": "mock",
         "generator": {"model": str(tiny_dir("sd-checked")), "steps": 1, "safety_checker": True}}
    )  # fmt: skip
    run = run_plan(make_plan(experiment), tmp_path / "run", device="cpu", threads=1, pool=ModelPool("cpu"))
    flags = [set(f) for f in run.steps().query("t == 1")["flags"]]
    assert sum({"safety_checked", "black_image"} <= f for f in flags) == 1


# ---- precision -------------------------------------------------------------------------------------------------------


def test_the_autoencoder_of_sdxl_decodes_in_float32_where_the_rest_is_float16(tiny_dir):
    generator = load_generator(spec_for(tiny_dir("sdxl"), "sdxl", dtype="float16"), "cpu")
    assert generator.pipe.unet.dtype == torch.float16
    assert generator.pipe.vae.config.force_upcast
    seen = []
    hook = generator.pipe.vae.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].dtype))
    generator.generate(tiny.PROMPTS[:1], [1])
    hook.remove()
    assert seen == [torch.float32]


def test_a_picture_with_values_that_are_no_numbers_is_an_error_not_a_black_frame(tiny_dir):
    generator = load_generator(spec_for(tiny_dir("sd"), "sd"), "cpu")
    with torch.no_grad():
        generator.pipe.vae.decoder.conv_out.bias.fill_(float("nan"))
    with pytest.raises(RuntimeError, match="the autoencoder overflowed in float32; write dtype: float32"):
        generator.generate(tiny.PROMPTS[:1], [1])


def test_convolutions_are_channels_last_and_attention_is_torchs_own(tiny_dir):
    generator = load_generator(spec_for(tiny_dir("sd"), "sd"), "cpu")
    assert generator.pipe.unet.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    kinds = {type(p).__name__ for p in generator.pipe.unet.attn_processors.values()}
    assert kinds == {"AttnProcessor2_0"}
    assert generator.pipe.text_encoder.config._attn_implementation == "sdpa"
    assert generator.describe_settings()["attention"] == "sdpa"


# ---- placement -------------------------------------------------------------------------------------------------------

GB = 10**9


@pytest.mark.parametrize(
    ("weights", "free", "expected"),
    [
        ([5 * GB, 3 * GB], 10 * GB, "resident"),
        ([5 * GB, 4 * GB], 10 * GB, "swap"),
        ([9 * GB], 10 * GB, "offload"),
        ([], 0, "resident"),
    ],
)
def test_weights_stay_if_they_fit_are_swapped_if_each_part_fits_and_offloaded_last(weights, free, expected):
    assert memory.choose_placement(weights, free) == expected


class FakePipe:
    """Says what was asked of it."""

    def __init__(self, **sizes: int) -> None:
        self.components = {name: torch.nn.Linear(n, 1, bias=False) for name, n in sizes.items()} | {
            "tokenizer": object()
        }
        self.calls: list[tuple[str, str]] = []

    def to(self, device: str) -> None:
        self.calls.append(("to", device))

    def enable_model_cpu_offload(self, device: str) -> None:
        self.calls.append(("model", device))

    def enable_sequential_cpu_offload(self, device: str) -> None:
        self.calls.append(("sequential", device))


def test_weights_are_counted_by_network_and_shared_ones_once():
    base, refiner = FakePipe(unet=100, vae=10), FakePipe(unet=50)
    refiner.components["vae"] = base.components["vae"]
    assert memory.weights_of([base, refiner]) == [400, 40, 200]


@pytest.mark.parametrize(
    ("wanted", "free", "call", "said"),
    [
        ("auto", 10_000, "to", None),
        ("auto", 520, "model", "swapped in at each call"),
        ("auto", 100, "sequential", "layers are moved one by one"),
        ("resident", 100, "to", None),
        ("swap", 10_000, "model", "swapped in at each call"),
        ("offload", 10_000, "sequential", "several times slower"),
    ],
)
def test_what_costs_speed_is_said_aloud(monkeypatch, wanted, free, call, said):
    base, refiner = FakePipe(unet=90, vae=10), FakePipe(unet=10)
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    taken, line = memory.place([base, refiner], wanted, "cuda:1")
    assert base.calls == refiner.calls == [(call, "cuda:1")]
    assert (line is None) == (said is None)
    assert said is None or said in line
    assert taken == {"to": "resident", "model": "swap", "sequential": "offload"}[call]


def test_on_a_cpu_all_is_resident_and_swapping_is_refused(tiny_dir):
    assert load_generator(spec_for(tiny_dir("sd"), "sd"), "cpu").describe_settings()["placement"] == "resident"
    with pytest.raises(
        ModelError, match=r"placement: swap moves weights to a GPU .* this runs on cpu; leave placement out"
    ):
        draw(tiny_dir("sd"), "sd", placement="swap")


# ---- compilation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("sd", "BasicTransformerBlock"),
        ("flux-dev", "FluxTransformerBlock"),
        ("sana", None),
        ("qwen-image", "QwenImageTr"),
    ],
)
def test_compile_reaches_the_repeated_blocks_and_chunks_keep_one_size(tiny_dir, monkeypatch, name, blocks):
    compiled, sizes = [], []

    def fake(call, *arguments, **keywords):
        compiled.append(type(call.__self__).__name__)
        return call

    monkeypatch.setattr(torch, "compile", fake)
    generator = load_generator(spec_for(tiny_dir(name), name, batch_size=2, compile=True), "cpu")
    assert compiled
    assert blocks is None or all(kind in generator.describe_settings()["compiled"][0] for kind in compiled)
    assert blocks is None or compiled[0].startswith(blocks)
    real = generator.pipe.__class__.__call__
    monkeypatch.setattr(
        generator.pipe.__class__, "__call__", lambda self, **k: (sizes.append(len(k["prompt"])), real(self, **k))[1]
    )
    drawn = generator.generate(tiny.PROMPTS[:3], [1, 2, 3])
    assert len(drawn) == 3
    assert sizes == [2, 2]  # three rows in chunks of two: the last is padded, so that nothing is compiled anew


def test_without_the_option_nothing_is_compiled(tiny_dir, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda *a, **k: pytest.fail("compiled"))
    assert load_generator(spec_for(tiny_dir("sd"), "sd"), "cpu").describe_settings()["compiled"] == []


def test_models_that_are_loaded_differently_do_not_share_weights_in_the_pool():
    pool = ModelPool("cpu")
    keys = {
        pool._key(spec_for(Path("sdxl"), "sd", **change))
        for change in ({}, {"loras": "a/b"}, {"refiner": "a/b"}, {"compile": True}, {"safety_checker": True})
    }
    assert len(keys) == 5
    same = {pool._key(spec_for(Path("sdxl"), "sd", **change)) for change in ({}, {"style": "anime"}, {"expand": 2})}
    assert len(same) == 1


def test_what_loading_found_is_shown_once_by_the_pool(tiny_dir):
    said: list[str] = []
    pool = ModelPool("cpu", on_load=said.append)
    spec = spec_for(tiny_dir("sd-checked"), "sd")
    for _ in range(2):
        pool.generator(spec)
    assert sum("safety checker is left out" in line for line in said) == 1


def test_a_schedulers_options_reach_it(tiny_dir):
    generator = load_generator(
        spec_for(tiny_dir("sd"), "sd", scheduler="EulerDiscreteScheduler(timestep_spacing=trailing, steps_offset=0)"),
        "cpu",
    )
    assert generator.pipe.scheduler.config.timestep_spacing == "trailing"
    assert generator.pipe.scheduler.config.steps_offset == 0
    before = generator.settings
    for text, message in (
        ("EulerDiscreteScheduler(spacing=trailing)", "EulerDiscreteScheduler has no 'spacing'"),
        ("EulerDiscreteScheduler(trailing)", r"options are written NAME\(key=value"),
        ("Euler", "this generator can use .*EulerDiscreteScheduler"),
    ):
        with pytest.raises(ModelError, match=message):
            generator.configure({**before, "scheduler": text})


def test_a_pipeline_of_stages_keeps_its_own_schedulers(tiny_dir):
    with pytest.raises(ModelError, match="has stages, each with a scheduler of its own; write native"):
        draw(tiny_dir("cascade"), "cascade", scheduler="DDPMWuerstchenScheduler")


# ---- where it comes from ---------------------------------------------------------------------------------------------


@pytest.fixture
def cached(tiny_dir, tmp_path, monkeypatch):
    """A hub cache that holds tiny checkpoints as downloads leave them; the hub itself is out of reach."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)

    def put(repository: str, name: str) -> str:
        folder = tmp_path / "hub" / f"models--{repository.replace('/', '--')}"
        shutil.copytree(tiny_dir(name), folder / "snapshots" / ("0" * 39 + "1"))
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("0" * 39 + "1")
        return repository

    return put


def test_a_hub_id_is_drawn_with_from_the_cache(cached, plain):
    np.testing.assert_array_equal(draw_hub(cached, "sd"), plain)


def draw_hub(cached, name: str, **more: object) -> np.ndarray:
    return draw(Path(cached("owner/tiny", name)), name, **more)


def test_what_the_files_tell_of_a_hub_model_is_refused_before_its_weights_are_read(cached, monkeypatch):
    monkeypatch.setattr("loopsim.models.diffusers.load_pipeline", lambda *a: pytest.fail("weights were read"))
    with pytest.raises(ModelError, match=r"guidance 3\.5 on a distilled model, which does not read it"):
        draw_hub(cached, "flux-schnell", guidance=3.5)


def test_a_preset_gets_its_weights_from_its_place_on_the_hub(cached):
    cached("stabilityai/stable-diffusion-xl-base-1.0", "sdxl")
    settings = catalog.settings_of("generator", "sdxl", {"steps": 2, "dtype": "float32", "variant": "native"})
    for name in ("sdxl", "stabilityai/stable-diffusion-xl-base-1.0"):
        generator = load_generator(ModelSpec("generator", name, settings), "cpu")
        assert generator.generate(tiny.PROMPTS[:1], [1])[0].pixels.shape == (32, 32, 3)


def test_a_missing_hub_model_is_told_with_what_mends_it(cached):
    cached("owner/tiny", "sd")
    with pytest.raises(ModelError, match="owner/other"):
        draw(Path("owner/other"), "sd")


def test_the_manifest_says_what_was_loaded_beside_the_model_and_whether_a_checker_was_kept(tiny_dir, lora, tmp_path):
    experiment = parse_experiment(
        {
            "name": "try", "iterations": 1, "starts": tiny.PROMPTS[:1], "captioner": "mock", "embedders": "mock",
            "generator": [
                {"model": str(tiny_dir("sd-checked")), "steps": 1, "safety_checker": True},
                {"model": str(tiny_dir("sd")), "steps": 1, "loras": [f"{lora}@0.5"]},
            ],
        }
    )  # fmt: skip
    run = run_plan(make_plan(experiment), tmp_path / "run", device="cpu", threads=1, pool=ModelPool("cpu"))
    kept, adapted = (m for m in run.manifest["provenance"]["models"] if m["role"] == "generator")
    assert (kept["safety_checker"], adapted["safety_checker"]) == (True, False)
    assert list(adapted["parts"][0]["files"]) == [lora.name]
    assert "parts" not in kept


def test_a_run_that_cannot_be_leaves_no_directory_behind(tiny_dir, tmp_path):
    experiment = parse_experiment(
        {"name": "try", "iterations": 1, "starts": ["a b"], "captioner": "mock",
         "generator": {"model": str(tiny_dir("flux-schnell")), "guidance": 3.5}}
    )  # fmt: skip
    with pytest.raises(ModelError, match="on a distilled model"):
        run_plan(make_plan(experiment), tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["kandinsky-2", "wuerstchen", "cascade"])
def test_a_decoder_finds_the_prior_that_its_card_names(tiny_dir, tmp_path, name):
    # So these are published: the decoder's repository names the prior's in its card.
    whole = tiny_dir(name)
    kind = getattr(diffusers, json.loads((whole / "model_index.json").read_text())["_class_name"])
    load_generator(spec_for(whole, name), "cpu")  # makes the moved classes known
    pipe = kind.from_pretrained(whole)
    for part, folder in ((pipe.decoder_pipe, tmp_path / "decoder"), (pipe.prior_pipe, tmp_path / "prior")):
        part.save_pretrained(folder)
        tiny.fix_moved(folder)
    (tmp_path / "decoder" / "README.md").write_text(f"---\nprior:\n- {tmp_path / 'prior'}\n---\nA decoder.\n")
    np.testing.assert_array_equal(draw(tmp_path / "decoder", name), draw(whole, name))


def test_the_hub_is_asked_once_for_each_file_however_many_half_steps_there_are(cached, monkeypatch):
    import huggingface_hub

    asked, real = [], huggingface_hub.hf_hub_download

    def watched(*arguments, **keywords):
        asked.append(arguments[1])
        return real(*arguments, **keywords)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    spec = spec_for(Path(cached("owner/tiny", "sd")), "sd", size="32x32")
    generator = load_generator(spec, "cpu")
    before = len(asked)
    for _ in range(5):
        generator.configure(spec.settings)
    assert len(asked) == before
    assert asked.count("model_index.json") == 1
