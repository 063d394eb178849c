"""Which library loads an embedder that is named by a hub id, or by open_clip's own model and tag."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

from loopsim.errors import ModelError
from loopsim.models import cannot_load
from loopsim.models.revisions import hub_id
from loopsim.models.weight_files import check_file
from loopsim.presets.embedders import EMBEDDER_FILES
from loopsim.presets.entry import OPEN_CLIP


def hub_of(location: str) -> str | None:
    """The repository on the hub that an embedder is loaded from; None for a directory, for what is code, and for the
    few tags of open_clip that come from elsewhere (their address has the hash of the file in it).

    Args:
        location: directory, hub id, or `MODEL/TAG` in open_clip's terms.
    """
    name = hub_id(location)
    if name is None or location.startswith("hf-hub:"):
        return name
    import open_clip

    model, _, tag = location.partition("/")
    if model not in open_clip.list_models():
        return name
    return open_clip_source(model, tag)[0]


def open_clip_source(model: str, tag: str) -> tuple[str | None, str | None]:
    """Repository on the hub, and file in it, of weights that open_clip knows by a tag; None where it says none."""
    import open_clip

    repository, _, file = str(open_clip.get_pretrained_cfg(model, tag).get("hf_hub") or "").rpartition("/")
    return repository or None, file or None


def adapter_of(name: str, commit: str | None = None) -> str:
    """The adapter of an embedder called `owner/name` or `MODEL/TAG`; of a hub model only small files are read.

    Args:
        name: hub id, or open_clip's model and tag.
        commit: of the hub model; None is the main branch.

    Raises:
        ModelError: the hub has no such model, or it cannot be reached and nothing is in the cache.
    """
    if is_of_open_clip(name):
        return OPEN_CLIP
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    problem: Exception | None = None
    for file, adapter in EMBEDDER_FILES.items():
        try:
            hf_hub_download(name, file, revision=commit)
        except EntryNotFoundError as error:  # also where it is not in the cache, offline
            problem = error
        except (HfHubHTTPError, OSError, ValueError) as error:
            raise cannot_load("embedder", name, error) from error
        else:
            return adapter
    assert problem is not None
    raise cannot_load("embedder", name, problem) from problem


def is_of_open_clip(name: str) -> bool:
    """Whether a name is open_clip's own `MODEL/TAG`, or a hub id that is said to be for it."""
    import open_clip

    return name.startswith("hf-hub:") or name.partition("/")[0] in open_clip.list_models()


_CLIP_VOCABULARY = 49408


def check_open_clip(name: str, location: str) -> None:
    """Look a `MODEL/TAG` up in open_clip's own list, and into the configuration of a directory.

    Args:
        name: as the user wrote it.
        location: what the name stands for.

    Raises:
        ModelError: open_clip knows no such tag of the model, and the message lists those it knows; or a directory
            would be read with a tokenizer that is not its own.
    """
    import open_clip

    model, _, tag = location.partition("/")
    if Path(location).is_dir():
        _check_tokenizer(name, location)
        _check_weights(name, Path(location))
        return
    if location.startswith("hf-hub:") or model not in open_clip.list_models():
        return
    known = open_clip.list_pretrained_tags_by_model(model)
    if tag in known:
        return
    close = difflib.get_close_matches(tag, known, 1)
    hint = f" Did you mean {model}/{close[0]}?" if close else ""
    listed = ", ".join(known) or "none"
    raise ModelError(f"embedder {name!r}: open_clip has no weights {tag!r} of {model}.{hint} It has: {listed}")


def _check_weights(name: str, folder: Path) -> None:
    """open_clip goes on with random weights where a directory has none."""
    there = [path for ending in ("safetensors", "bin", "pth", "pt") for path in sorted(folder.glob(f"*.{ending}"))]
    if not there:
        raise ModelError(
            f"embedder {name!r}: there are no weights in the directory, such as open_clip_model.safetensors; fetch it "
            "again, such as with `hf download OWNER/NAME --local-dir DIRECTORY`"
        )
    for path in there:
        check_file("embedder", name, path)


def _check_tokenizer(name: str, location: str) -> None:
    """open_clip takes CLIP's own tokenizer where a directory names none, whatever the model's vocabulary is."""
    try:
        config = json.loads((Path(location) / "open_clip_config.json").read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError("open_clip_config.json is no JSON object")
        text = config.get("model_cfg", config).get("text_cfg", {})
    except (OSError, ValueError, AttributeError) as error:
        raise cannot_load("embedder", name, error, location) from error
    size = text.get("vocab_size", _CLIP_VOCABULARY)
    if size != _CLIP_VOCABULARY and not text.get("hf_tokenizer_name") and not text.get("hf_model_name"):
        raise ModelError(
            f"embedder {name!r}: its vocabulary has {size} tokens, so CLIP's tokenizer is not its own, and it "
            "names no other; put the tokenizer's files there, and text_cfg.hf_tokenizer_name: . into "
            "open_clip_config.json"
        )
