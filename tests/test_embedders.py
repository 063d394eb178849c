"""Every embedder family on a tiny checkpoint of its real class, from the directory to the vectors of a run."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from loopsim import catalog, embed
from loopsim.embed import embed_phrases, embed_run
from loopsim.errors import ModelError
from loopsim.measure import measure_run
from loopsim.models import check_embedder, load_embedder
from loopsim.models.transformers_embedder import KINDS
from loopsim.presets.entry import OPEN_CLIP, SENTENCE, TRANSFORMERS_EMBEDDER
from loopsim.runner import ModelPool, run_plan
from tests import tiny_embedders as tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:(?!loopsim).*")

TEXTS = [
    "two birds",
    "red sea . night",
    "two birds red sea house tree night storm field lamp road bird sea",
    "two birds",
]
NAMES = [*tiny.BOTH, *tiny.PICTURES, "sentence", "open-clip"]


@pytest.fixture(scope="session")
def directory(tmp_path_factory) -> Callable[[str], Path]:
    """The directory of an embedder, built once."""
    built: dict[str, Path] = {}
    makers = {"sentence": tiny.build_sentence, "open-clip": tiny.build_open_clip}

    def get(name: str) -> Path:
        if name not in built:
            folder = tmp_path_factory.mktemp("embedder") / name
            built[name] = makers[name](folder) if name in makers else tiny.build(name, folder)
        return built[name]

    torch.set_num_threads(1)
    return get


@pytest.fixture(scope="session")
def pictures():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((56, 56), (40, 80), (56, 56), (90, 30))]


def modalities(name: str) -> set[str]:
    return {"text"} if name == "sentence" else {"image"} if name in tiny.PICTURES else {"text", "image"}


# ---- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_unit_rows_of_float32_and_each_is_of_its_own_content(name, directory, pictures):
    embedder = load_embedder(str(directory(name)), "cpu")
    assert embedder.modalities == modalities(name)
    calls = [("image", embedder.embed_images, pictures), ("text", embedder.embed_texts, TEXTS)]
    sizes = set()
    for modality, call, contents in calls:
        if modality not in embedder.modalities:
            with pytest.raises(ModelError, match="only; for"):
                call(contents)
            continue
        rows = call(contents)
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
        np.testing.assert_array_equal(call(contents), rows)
        alone = np.concatenate([call([content]) for content in contents])
        np.testing.assert_allclose(alone, rows, atol=2e-5)
        assert np.abs(rows[0] - rows[1]).max() > 1e-3
        sizes.add(rows.shape[1])
    assert len(sizes) == 1


@pytest.mark.parametrize("name", [*tiny.BOTH, "sentence"])
def test_the_last_word_changes_the_vector_and_what_is_beyond_the_limit_does_not(name, directory):
    embedder = load_embedder(str(directory(name)), "cpu")
    a, b = embedder.embed_texts(["two red birds", "two red house"])
    assert np.abs(a - b).max() > 1e-3
    long = "sea " * 20
    a, b = embedder.embed_texts([long + "bird", long + "house"])
    np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("name", ["clip", "siglip", "dinov2"])
def test_vectors_are_those_of_transformers_itself(name, directory, pictures):
    import transformers as tf
    from PIL import Image

    folder = directory(name)
    model = tf.AutoModel.from_pretrained(folder).eval()
    seen = tf.AutoImageProcessor.from_pretrained(folder)(images=Image.fromarray(pictures[0]), return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**seen).last_hidden_state[0, 0] if name == "dinov2" else None
        if theirs is None:
            words = tf.AutoTokenizer.from_pretrained(folder)(
                ["two birds"], padding="max_length", max_length=12, return_tensors="pt"
            )
            out = model(**seen, input_ids=words["input_ids"], attention_mask=words["attention_mask"])
            theirs = out.image_embeds[0]
            text = out.text_embeds[0] / out.text_embeds[0].norm()
            np.testing.assert_allclose(load_embedder(str(folder), "cpu").embed_texts(["two birds"])[0], text, atol=1e-5)
    ours = load_embedder(str(folder), "cpu").embed_images(pictures[:1])[0]
    np.testing.assert_allclose(ours, theirs / theirs.norm(), atol=1e-5)


def test_many_contents_are_the_same_as_few(directory, pictures):
    embedder = load_embedder(str(directory("clip")), "cpu")
    rows = embedder.embed_texts(TEXTS * 20)  # more than one batch
    np.testing.assert_allclose(rows, np.tile(embedder.embed_texts(TEXTS), (20, 1)), atol=2e-5)
    rows = embedder.embed_images(pictures * 20)
    np.testing.assert_allclose(rows, np.tile(embedder.embed_images(pictures), (20, 1)), atol=2e-5)


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(planned, out):
    return run_plan(planned(iterations=2, replicates=1), out, pool=ModelPool("cpu"))


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_embedded_in_what_the_embedder_reads(name, directory, finished):
    embedder = str(directory(name))
    with finished.writing():
        assert embed_run(finished, embedder, "cpu") > 0
        assert embed_run(finished, embedder, "cpu") == 0
    found = finished.embeddings(embedder)
    assert set(found["modality"]) == modalities(name)
    counts = found["modality"].value_counts()
    assert counts.get("text", 9) == 9  # three starts and six captions
    assert counts.get("image", 6) == 6


def test_several_embedders_serve_one_run_and_are_measured_side_by_side(directory, finished):
    names = [str(directory(name)) for name in ("dinov2", "sentence")]
    with finished.writing():
        for name in (*names, "mock"):
            embed_run(finished, name, "cpu")
        measured = measure_run(finished)
    pairs = set(measured.loc[measured["embedder"].notna(), ["embedder", "modality"]].itertuples(index=False, name=None))
    assert {(names[0], "image"), (names[1], "text"), ("mock", "image"), ("mock", "text")} <= pairs
    assert not {(names[0], "text"), (names[1], "image")} & pairs


def test_equal_contents_are_embedded_once(planned, out, monkeypatch):
    run = run_plan(
        planned(starts=["a black boat"], noise="fixed", iterations=6, replicates=1, captioner="mock"), out,
        pool=ModelPool("cpu"),
    )  # fmt: skip
    asked: dict[str, list[object]] = {"text": [], "image": []}
    real = embed.load_embedder("mock")

    class Watched(type(real)):  # type: ignore[misc]
        def embed_texts(self, texts):
            asked["text"] += texts
            return super().embed_texts(texts)

        def embed_images(self, images):
            asked["image"] += [image.tobytes() for image in images]
            return super().embed_images(images)

    monkeypatch.setattr(embed, "load_embedder", lambda name, device, commit=None: Watched("", name, device))
    monkeypatch.setattr(embed, "_BATCH", 2)
    with run.writing():
        embed_run(run, "mock")
    steps = run.steps()
    assert len(asked["text"]) == len(set(asked["text"])) == steps["text"].nunique()
    assert len(asked["image"]) == len(set(asked["image"]))
    vectors = run.embeddings("mock").merge(steps[["trajectory_id", "t", "text"]])
    for _, same in vectors[vectors["modality"] == "text"].groupby("text"):
        assert len({v.tobytes() for v in same["vector"]}) == 1


def test_what_is_remembered_has_a_bound(monkeypatch):
    monkeypatch.setattr(embed, "KEPT", 3 * 4 * 4)  # three vectors of four numbers
    asked: list[str] = []

    def vectors(texts):
        asked.extend(texts)
        return np.ones((len(texts), 4), dtype=np.float32)

    once = embed._Once(vectors)
    once.vectors(["a", "b", "c"])
    once.vectors(["d", "b"])  # forgets a
    once.vectors(["b", "c", "d"])
    assert asked == ["a", "b", "c", "d"]
    once.vectors(["a"])
    assert asked[-1] == "a"


def test_phrases_are_refused_by_an_embedder_of_pictures(directory, finished):
    with pytest.raises(ModelError, match="sees pictures only"):
        embed_phrases(finished, str(directory("dinov3")), ["a boat"], "cpu")


# ---- which library ---------------------------------------------------------------------------------------------------


def test_a_directory_is_loaded_by_the_library_that_its_files_name(directory):
    for name in NAMES:
        adapter = catalog.find("embedder", str(directory(name))).adapter
        assert adapter == {"sentence": SENTENCE, "open-clip": OPEN_CLIP}.get(name, TRANSFORMERS_EMBEDDER)


def test_every_directory_and_known_tag_passes_the_check(directory):
    for name in (*(str(directory(n)) for n in NAMES), "postcards", "mock", "clip-vit-b-32", "ViT-B-16/openai"):
        check_embedder(name)


def test_an_unknown_tag_of_open_clip_is_refused_with_those_it_has():
    with pytest.raises(ModelError) as caught:
        check_embedder("ViT-B-32/laion2b_s34b_b79")
    message = str(caught.value)
    assert "Did you mean ViT-B-32/laion2b_s34b_b79k?" in message
    assert "openai, laion400m_e31" in message


def test_a_directory_of_open_clip_that_names_no_tokenizer_of_its_own_is_refused(directory, tmp_path):
    config = json.loads((directory("open-clip") / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["vocab_size"] = 500
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has 500 tokens.*text_cfg\.hf_tokenizer_name: \."):
        check_embedder(str(tmp_path))


def test_a_repository_on_the_hub_is_loaded_by_the_library_that_its_files_name(monkeypatch):
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    there = {"modules.json"}

    def download(name, file, revision=None):
        if file not in there:
            raise LocalEntryNotFoundError(f"{file} is not there")
        return file

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    check_embedder("owner/name")
    from loopsim.models.embedder_kinds import adapter_of

    assert adapter_of("owner/name") == SENTENCE
    there = {"open_clip_config.json", "config.json"}
    assert adapter_of("owner/name") == OPEN_CLIP
    there = {"config.json"}
    assert adapter_of("owner/name") == TRANSFORMERS_EMBEDDER
    there = set()
    with pytest.raises(ModelError, match="embedder 'owner/name'"):
        adapter_of("owner/name")
    assert adapter_of("hf-hub:owner/name") == OPEN_CLIP
    assert adapter_of("ViT-B-32/openai") == OPEN_CLIP


@pytest.mark.parametrize("kind", ["llama", "blip", "bert", "", "whisper"])
def test_a_model_that_gives_no_vectors_is_refused_with_those_that_do(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ModelError, match=r"clip, .*siglip2, dinov2, .*dinov3_vit"):
        check_embedder(str(tmp_path))


def test_a_pipeline_of_diffusers_is_no_embedder(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(ModelError, match="name it as the generator"):
        check_embedder(str(tmp_path))


def test_pickled_weights_are_refused(directory, tmp_path):
    folder = shutil.copytree(directory("clip"), tmp_path / "clip")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickles"):
        check_embedder(str(folder))
    with pytest.raises(ModelError, match="pickles"):
        load_embedder(str(folder), "cpu")


def test_without_sentence_transformers_the_message_has_the_command(directory, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for call in (check_embedder, load_embedder):
        with pytest.raises(ModelError, match=r"pip install 'loopsim\[sentence\]'"):
            call("all-minilm-l6-v2")


def test_the_table_of_kinds_names_classes_that_transformers_has():
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    assert set(KINDS) <= set(MODEL_MAPPING_NAMES)
    assert {kind for name, kind in KINDS.items() if name.startswith("dino")} == {"pooled"}
