"""Generators that draw token by token: Janus and Emu3, on tiny checkpoints of their real classes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import check_model, load_generator
from loopsim.models.autoregressive import AutoregressiveGenerator, GridSampler, TokenSampler, guided
from loopsim.models.token_checks import native_of, token_remarks
from loopsim.records import ModelSpec
from loopsim.runner import run_plan
from tests import tiny_generators as tiny
from tests.test_generators import far, loaded, spec_for, tiny_dir

__all__ = ["loaded", "tiny_dir"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")


# ---- guidance and sampling -------------------------------------------------------------------------------------------


def test_guidance_weighs_the_rows_with_and_without_the_prompt():
    scores = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    torch.testing.assert_close(guided(scores, 3.0), torch.tensor([[3.0, 4.0], [7.0, -2.0]]))
    for none in (0.0, 1.0):
        torch.testing.assert_close(guided(scores, none), scores[:2])


def test_guidance_is_that_of_transformers():
    from transformers import ClassifierFreeGuidanceLogitsProcessor

    scores = torch.randn(6, 11, generator=torch.Generator().manual_seed(0))
    theirs = ClassifierFreeGuidanceLogitsProcessor(4.0)(torch.zeros(3, 1), scores)
    torch.testing.assert_close(guided(scores, 4.0), theirs)


def test_tokens_follow_their_probabilities():
    logits = torch.tensor([0.0, 1.0, 2.0])
    n = 6000
    sampler = TokenSampler(list(range(n)), guidance=1.0, temperature=1.0, top_k=None)
    chosen = sampler.pick(logits.repeat(2 * n, 1))
    share = torch.bincount(chosen, minlength=3) / n
    torch.testing.assert_close(share, logits.softmax(0), atol=0.025, rtol=0)  # four standard errors


def test_a_row_has_its_own_noise_at_every_place():
    logits = torch.zeros(6, 50)
    together = TokenSampler([4, 5, 6], 1.0, 1.0, None)
    alone = TokenSampler([5], 1.0, 1.0, None)
    a = [int(together.pick(logits)[1]) for _ in range(20)]
    b = [int(alone.pick(logits[:2])[0]) for _ in range(20)]
    assert a == b
    assert len(set(a)) > 10


def test_top_k_and_temperature_0():
    logits = torch.tensor([[0.0, 3.0, 2.0, 1.0]]).repeat(2, 1)
    seen = {int(TokenSampler([seed], 1.0, 5.0, 2).pick(logits)) for seed in range(60)}
    assert seen == {1, 2}
    assert int(TokenSampler([1], 1.0, 0.0, None).pick(logits)) == 1


def test_a_grid_closes_every_line_and_gives_both_halves_the_same_token():
    choices = torch.tensor([5, 6, 7])
    grid = GridSampler(TokenSampler([1, 2], 1.0, 1.0, None), choices, end_of_line=9, width=2)
    noise = torch.randn(6, 4, 10, generator=torch.Generator().manual_seed(0))
    tokens = torch.stack([grid(None, scores).argmax(-1) for scores in noise], dim=1)
    assert torch.equal(tokens[:2], tokens[2:])
    assert torch.equal(tokens[:, [2, 5]], torch.full((4, 2), 9))
    assert torch.isin(tokens[:, [0, 1, 3, 4]], choices).all()


# ---- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", tiny.TOKEN_BUILDERS)
def test_settings_reach_the_drawing(loaded, name):
    generator = loaded(name)
    before = generator.settings
    plain = generator.generate(tiny.PROMPTS[:1], [1])[0].pixels
    try:
        for change in ({"temperature": 0.3}, {"guidance": 1.0}, {"top_k": 2}, {"suffix": "in the storm"}):
            generator.configure({**before, **change})
            assert far(generator.generate(tiny.PROMPTS[:1], [1])[0].pixels, plain) > 0, change
        generator.configure({**before, "temperature": 0.0})
        one, other = generator.generate(tiny.PROMPTS[:1] * 2, [1, 2])
        np.testing.assert_array_equal(one.pixels, other.pixels)
    finally:
        generator.configure(before)


def test_the_global_random_state_plays_no_part(loaded):
    generator = loaded("janus")
    pictures = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        pictures.append(generator.generate(tiny.PROMPTS[:1], [7])[0].pixels)
    np.testing.assert_array_equal(*pictures)


def test_emu3_draws_other_sizes(loaded):
    generator = loaded("emu3")
    before = generator.settings
    try:
        generator.configure({**before, "size": "24x16"})
        assert generator.generate(tiny.PROMPTS[:1], [1])[0].pixels.shape == (16, 24, 3)
    finally:
        generator.configure(before)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("janus", {"size": "64x64"}, "size 64x64: it draws 32x32 only; write size: native"),
        ("emu3", {"size": "30x32"}, "size 30x32: it draws multiples of 8 only"),
        ("janus", {"negative_prompt": "blur"}, "a negative prompt would have no effect, since Janus reads none"),
        ("emu3", {"negative_prompt": "blur", "guidance": 1.0}, "since there is no guidance up to 1"),
        ("janus", {"steps": 20}, "draws token by token and has no steps; leave that out"),
        ("janus", {"loras": "a/b", "scheduler": "DDIMScheduler"}, "has no loras, scheduler; leave"),
        ("emu3", {"placement": "swap", "compile": True}, "has no compile, placement; leave"),
        ("emu3", {"refiner": "a/b"}, "has no refiner; leave that out"),
        ("janus", {"t5": True}, "has no t5; leave that out"),
        ("janus", {"t5": False}, "has no t5; leave that out"),
        ("janus", {"revision": "main"}, "revision is a branch, tag or commit on the hub, and this is a directory"),
        ("emu3", {"style": "baroque"}, "style 'baroque' is unknown; there are 3d-render, anime"),
    ],
)
def test_what_means_nothing_to_it_is_refused_before_and_at_loading(tiny_dir, monkeypatch, name, settings, message):
    monkeypatch.setattr(AutoregressiveGenerator, "_load", lambda *a: pytest.fail("weights were read"))
    for refuse in (check_model, lambda spec: load_generator(spec, "cpu")):
        with pytest.raises(ModelError) as caught:
            refuse(spec_for(tiny_dir(name), name, **settings))
        assert message in str(caught.value)
        assert str(caught.value).startswith("generator ")


@pytest.mark.parametrize("name", tiny.TOKEN_BUILDERS)
def test_a_setting_that_a_loaded_model_cannot_take_is_refused_too(loaded, name):
    generator = loaded(name)
    before = generator.settings
    with pytest.raises(ModelError, match="has no compile; leave that out"):
        generator.configure({**before, "compile": True})
    assert generator.settings == before


def test_a_wrong_cell_is_refused_before_there_is_a_run(tiny_dir, planned, out):
    grid = {"model": str(tiny_dir("janus")), "size": ["native", "64x64"]}
    with pytest.raises(ModelError, match="size 64x64: it draws 32x32 only; write size: native"):
        run_plan(planned(generator=grid), out)
    assert not out.exists()


def test_what_settings_alone_tell_needs_no_configuration():
    # Offline, and in no cache.
    spec = ModelSpec("generator", "janus-pro-1b", catalog.settings_of("generator", "janus-pro-1b", {"steps": 3}))
    with pytest.raises(ModelError, match="has no steps; leave that out, or write null"):
        check_model(spec)
    with pytest.raises(ModelError, match="deepseek-community/Janus-Pro-1B is not in the cache"):
        check_model(ModelSpec("generator", "janus-pro-1b", catalog.settings_of("generator", "janus-pro-1b", {})))


def test_what_the_configuration_leaves_out_is_what_transformers_has(tiny_dir, loaded):
    assert native_of({"model_type": "janus"}) == "384x384"
    config = transformers.JanusConfig()
    assert config.vision_config.num_image_tokens == 576
    assert len(config.vq_config.channel_multiplier) == 5
    assert native_of({"model_type": "emu3"}) is None
    assert loaded("emu3").processor.downsample_ratio == 8
    there = json.loads((tiny_dir("janus") / "config.json").read_text())
    assert native_of(there) == loaded("janus").family.native() == "32x32"


# ---- styles ----------------------------------------------------------------------------------------------------------


def test_a_style_is_drawn_and_what_goes_unheard_of_it_is_said(loaded):
    generator = loaded("janus")
    before = generator.settings
    plain = generator.generate(tiny.PROMPTS[:1], [1])[0].pixels
    try:
        for _ in range(2):
            generator.configure({**before, "style": "anime"})
            drawn = generator.generate(tiny.PROMPTS[:1], [1])[0]
            generator.configure(before)
        assert drawn.details == {"prompt": f"{tiny.PROMPTS[0]}, anime, clean line art, cel shading, bright colours"}
        assert far(drawn.pixels, plain) > 0
    finally:
        generator.configure(before)
    lines = [line for line in generator.notices if "anime" in line]
    assert len(lines) == 1  # said once, whenever it is first asked for
    assert lines[0].endswith("the negative part of style anime has no effect, since Janus reads none")


def test_the_negative_part_of_a_style_is_heard_by_emu3_where_it_is_guided(tiny_dir):
    spec = spec_for(tiny_dir("emu3"), "emu3", style="anime")
    assert token_remarks(spec, {"model_type": "emu3"}) == []
    weak = spec_for(tiny_dir("emu3"), "emu3", style="anime", guidance=1.0)
    check_model(weak)
    assert "since there is no guidance up to 1, and guidance is 1" in token_remarks(weak, {"model_type": "emu3"})[0]


def test_a_directory_of_transformers_that_draws_is_routed_here_with_its_own_defaults(tiny_dir):
    entry = catalog.find("generator", str(tiny_dir("janus")))
    assert entry.adapter == "loopsim.models.autoregressive:AutoregressiveGenerator"
    settings = catalog.settings_of("generator", str(tiny_dir("janus")), {})
    assert (settings["steps"], settings["temperature"], settings["guidance"]) == (None, 1.0, 5.0)


def test_a_model_that_draws_nothing_is_refused_from_its_configuration(tmp_path):

    (tmp_path / "config.json").write_text('{"model_type": "llava"}')
    settings = catalog.settings_of("generator", "janus-pro-1b", {})
    with pytest.raises(ModelError, match="a 'llava' model draws no pictures; emu3, janus do"):
        AutoregressiveGenerator(str(tmp_path), ModelSpec("generator", "mine", settings), "cpu")


def test_pickles_are_refused(tiny_dir, tmp_path):
    import shutil

    from safetensors.torch import load_file

    shutil.copytree(tiny_dir("janus"), tmp_path / "mine")
    file = tmp_path / "mine" / "model.safetensors"
    torch.save(load_file(file), tmp_path / "mine" / "pytorch_model.bin")
    file.unlink()
    with pytest.raises(ModelError, match=r"are pickles.*, which can run code .*write allow_pickle: true"):
        load_generator(spec_for(tmp_path / "mine", "janus"), "cpu")
