"""The adapters on the embedded models, which are real models of the real classes."""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from loopsim import catalog
from loopsim.errors import ModelError
from loopsim.models import load_captioner, load_embedder, load_generator
from loopsim.models.base import Chunks, unit_rows
from loopsim.models.postcards import truth, world
from loopsim.models.postcards.draw import draw
from loopsim.records import ModelSpec

PROMPTS = ["two blue boats by the sea at sunset", "a red house in the snow at night", "one green tree in a meadow"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")


def spec(role, model="postcards", **settings):
    return ModelSpec(role, model, catalog.settings_of(role, model, settings))


@pytest.fixture(scope="module")
def generator():
    torch.set_num_threads(2)
    return load_generator(spec("generator"), "cpu")


@pytest.fixture(scope="module")
def captioner():
    return load_captioner(spec("captioner"), "cpu")


@pytest.fixture(scope="module")
def embedder():
    return load_embedder("postcards", "cpu")


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    codes = world.draw_prior(8, rng)
    return codes, [draw(world.Scene.from_codes(row), rng) for row in codes]


# ---- generator -------------------------------------------------------------------------------------------------------


def test_pictures_are_what_the_adapter_promises(generator):
    drawings = generator.generate(PROMPTS, [1, 2, 3])
    assert [d.pixels.shape for d in drawings] == [(64, 64, 3)] * 3
    assert all(d.pixels.dtype == np.uint8 and d.chunk == 3 for d in drawings)
    assert all(d.pixels.std() > 5 for d in drawings)


def test_two_calls_give_the_same_bytes_and_leave_the_prompts_alone(generator):
    prompts = list(PROMPTS)
    first, second = (generator.generate(prompts, [1, 2, 3]) for _ in range(2))
    assert prompts == PROMPTS
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_a_picture_depends_on_its_own_seed_and_prompt_only(generator):
    # Kernels may round differently for another batch shape: one level, as measured with these libraries.
    alone = generator.generate(PROMPTS[:1], [2**64 - 1])[0].pixels
    among = generator.generate([PROMPTS[0], PROMPTS[2]], [2**64 - 1, 5])[0].pixels
    other = generator.generate(PROMPTS[:1], [7])[0].pixels
    assert np.abs(alone.astype(int) - among.astype(int)).max() <= 1
    assert np.abs(alone.astype(int) - other.astype(int)).max() > 20


def test_a_cohort_that_lost_members_keeps_its_chunk_shape_and_bytes(generator):
    whole = generator.generate(PROMPTS, [1, 2, 3])
    fewer = generator.generate(PROMPTS[:2], [1, 2], width=3)
    assert [d.chunk for d in fewer] == [3, 3]
    for a, b in zip(whole, fewer, strict=False):
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_settings_reach_the_pipeline(generator):
    plain = generator.generate(PROMPTS[:1], [1])[0].pixels
    before = generator.settings
    try:
        for change in (
            {"steps": 2}, {"guidance": 6.0}, {"negative_prompt": "a boat"}, {"scheduler": "DDIMScheduler"},
        ):  # fmt: skip
            generator.configure({**before, **change})
            changed = generator.generate(PROMPTS[:1], [1])[0].pixels
            assert np.abs(plain.astype(int) - changed.astype(int)).max() > 2, change
        generator.configure({**before, "size": "96x64"})
        assert generator.generate(PROMPTS[:1], [1])[0].pixels.shape == (64, 96, 3)
    finally:
        generator.configure(before)
    np.testing.assert_array_equal(generator.generate(PROMPTS[:1], [1])[0].pixels, plain)


def test_an_unknown_scheduler_lists_the_known_ones(generator):
    before = generator.settings
    with pytest.raises(ModelError, match="DDIMScheduler"):
        generator.configure({**before, "scheduler": "Nonsense"})
    generator.configure(before)


def test_prompt_tokens_are_counted_uncut(generator):
    counts = generator.count_tokens(["a house", "a house " * 40])
    assert counts[0] == 4  # begin, a, house, end
    assert counts[1] > generator.token_limit == 32


def test_any_text_can_be_drawn(generator):
    assert len(generator.generate(["", "Ein Bär, ☃ – 北京"], [1, 2])) == 2


# ---- captioner -------------------------------------------------------------------------------------------------------


def test_greedy_captions_read_most_of_what_was_drawn(captioner, pictures):
    codes, images = pictures
    found = truth.caption_codes([c.text for c in captioner.describe(images, [0] * 8)])
    assert (found == codes).mean() > 0.85


def test_sampled_captions_belong_to_their_own_seed(captioner, pictures):
    _, images = pictures
    sampling = load_captioner(spec("captioner", temperature=1.0), "cpu")
    together = [c.text for c in sampling.describe(images, list(range(8)))]
    apart = [sampling.describe([image], [i])[0].text for i, image in enumerate(images)]
    assert together == apart
    other = [c.text for c in sampling.describe(images, list(range(100, 108)))]
    assert sum(a != b for a, b in zip(together, other, strict=True)) >= 4


def test_truncation_is_told(pictures):
    short = load_captioner(spec("captioner", max_new_tokens=4), "cpu")
    captions = short.describe(pictures[1], [0] * 8)
    assert all(c.truncated and c.tokens == 4 for c in captions)
    whole = load_captioner(spec("captioner"), "cpu").describe(pictures[1], [0] * 8)
    assert not any(c.truncated for c in whole)
    assert all(c.text.startswith(s.text) for c, s in zip(whole, captions, strict=True))


def test_an_instruction_leads_and_is_not_part_of_the_caption(pictures):
    leading = load_captioner(spec("captioner", instruction="there is"), "cpu")
    texts = [c.text for c in leading.describe(pictures[1], [0] * 8)]
    assert not any(text.startswith("there is") for text in texts)
    assert all(text.split()[0] in {"a", "an", "one", "two", "three"} for text in texts)


def test_beams_run(pictures):
    captions = load_captioner(spec("captioner", beams=3), "cpu").describe(pictures[1][:2], [0, 0])
    assert all(c.text and not c.truncated for c in captions)


# ---- embedder --------------------------------------------------------------------------------------------------------


def test_embeddings_are_unit_rows_that_match_picture_and_caption(embedder, pictures):
    codes, images = pictures
    x = embedder.embed_images(images)
    texts = [world.plain_caption(world.Scene.from_codes(row)) for row in codes]
    y = embedder.embed_texts(texts)
    assert x.shape == y.shape == (8, 64)
    np.testing.assert_allclose(np.linalg.norm(np.concatenate([x, y]), axis=1), 1, atol=1e-6)
    own = np.array([[texts[i] == texts[j] for j in range(8)] for i in range(8)])
    assert (x @ y.T)[own].mean() > (x @ y.T)[~own].mean() + 0.2


def test_the_last_word_changes_the_vector(embedder):
    # open_clip's default pooling would take the largest token id, wherever it is.
    a, b = embedder.embed_texts(["two blue boats at night by the sea", "two blue boats at night by the road"])
    assert float(a @ b) < 0.999


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["generator", "captioner"])
def test_a_copied_directory_loads_by_its_path_like_a_users_own_model(role, tmp_path):
    shutil.copytree(catalog.find(role, "postcards").path(), tmp_path / "mine")
    load = load_generator if role == "generator" else load_captioner
    assert load(spec(role, str(tmp_path / "mine")), "cpu").describe_settings()["device"] == "cpu"


def test_no_library_warns_of_how_the_embedded_models_are_loaded(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        load_generator(spec("generator"), "cpu")
        load_captioner(spec("captioner"), "cpu")
        load_embedder("postcards", "cpu")


def test_weights_are_small_safetensors_in_half_precision():
    from safetensors import safe_open

    files = [f for role in ("generator", "captioner", "embedder")
             for f in Path(catalog.find(role, "postcards").path()).rglob("*.safetensors")]  # fmt: skip
    assert len(files) == 5
    assert sum(f.stat().st_size for f in files) < 25e6
    for file in files:
        with safe_open(file, "pt") as tensors:
            kinds = {tensors.get_tensor(name).dtype for name in tensors.keys()}  # noqa: SIM118 - not a dict
        assert kinds <= {torch.float16, torch.int64}, file


# ---- chunks ----------------------------------------------------------------------------------------------------------


def test_chunks_are_even_and_the_last_is_padded():
    seen = []

    def call(rows):
        seen.append(list(rows))
        return [r * 10 for r in rows]

    out = Chunks(4).map(call, [1, 2, 3, 4, 5])
    assert [r for r, _, _ in out] == [10, 20, 30, 40, 50]
    assert seen == [[1, 2, 3], [4, 5, 5]]
    assert {size for _, size, _ in out} == {3}


def test_out_of_memory_halves_the_chunk_and_is_remembered():
    sizes = []

    def call(rows):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return rows

    chunks = Chunks(8)
    assert [r for r, _, _ in chunks.map(call, list(range(8)))] == list(range(8))
    assert sizes[:3] == [8, 4, 2]
    sizes.clear()
    chunks.map(call, list(range(8)))
    assert set(sizes) == {2}


def test_other_errors_are_not_retried():
    calls = []

    def call(rows):
        calls.append(rows)
        raise RuntimeError("wrong shape")

    with pytest.raises(RuntimeError, match="wrong shape"):
        Chunks(8).map(call, [1, 2])
    assert len(calls) == 1


def test_a_zero_vector_has_no_direction():
    with pytest.raises(ValueError, match="zero or not finite"):
        unit_rows(np.array([[0.0, 0.0], [1.0, 0.0]]))
