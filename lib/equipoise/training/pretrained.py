"""An encoder's directory, and the directory of the same encoder after continued pre-training on a shop's texts. Torch only."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import torch

from equipoise.inference.batching import pad
from equipoise.models.encoder import POOLING, TextEncoder, check_directory, load_backbone, load_tokenizer, pooling_of
from equipoise.models.masked import words_of
from equipoise.training.pretrain import PretrainOptions, Texts, pretrain
from equipoise.training.together import Together

FIGURES = "pretraining.json"


def pretrained_directory(
    path: str,
    texts: Sequence[str],
    found: Together,
    options: PretrainOptions,
    *,
    max_tokens: int,
    device: torch.device,
    half: torch.dtype | None,
    into: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Makes `into` a plain Hugging Face directory of the encoder at `path`, pre-trained; returns the figures that lie in it.

    What is there already from the same encoder, texts, pairs and options stays: a run that was killed later does not do it again.

    Args:
        texts: distinct, whose places `found` names; each is cut at `max_tokens`.
        half: what the encoder computes in beside float32.
    Returns:
        kind, step, pairs, texts, and `start_…` and `best_…` of every figure of the held-out pairs; history.

    Raises:
        ModelError: as `pretrain`, or masked words asked of an encoder that cannot fill them in.
    """
    identity = _identity(path, texts, found, options, max_tokens)
    there = into / FIGURES
    if there.is_file() and (told := json.loads(there.read_text(encoding="utf-8")))["identity"] == identity:
        say("pre-training: done already by an earlier attempt of this run")
        return cast(dict[str, Any], told)
    encoder = TextEncoder(load_backbone(path), pooling_of(path))
    encoder.autocast = half
    done = pretrain(encoder, tokenised(path, texts, max_tokens, masked=options.masks), found, options, device=device, say=say)
    figures = {
        "identity": identity,
        "kind": options.pretraining,
        "step": done.step,
        "texts": len(texts),
        "pairs": len(found.counts),
        **{f"start_{name}": v for name, v in done.history[0].items() if name != "step"},
        **{f"best_{name}": v for name, v in done.best.items() if name not in ("step", "training_loss")},
        "history": done.history,
    }
    _save(encoder, path, into, figures)
    return figures


def tokenised(path: str, texts: Sequence[str], max_tokens: int, *, masked: bool) -> Texts:
    """The texts as the encoder in the directory reads them.

    Raises:
        ModelError: with `masked`, for an encoder that cannot fill in masked words.
    """
    tokenizer = load_tokenizer(path)
    masking = words_of(path, tokenizer) if masked else None
    rows = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    tokens, mask = pad(rows, int(tokenizer.pad_token_id or 0))
    every, special = torch.arange(len(tokenizer)), torch.tensor(sorted(set(tokenizer.all_special_ids)))
    return Texts(torch.from_numpy(tokens), torch.from_numpy(mask), every[~torch.isin(every, special)], masking)


def _save(encoder: TextEncoder, path: str, into: Path, figures: dict[str, Any]) -> None:
    """Written aside and renamed, so that what lies there is whole."""
    aside = into.with_name(f"{into.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.rmtree(into, ignore_errors=True)
    aside.mkdir(parents=True)
    cast(Any, encoder.backbone).to("cpu").save_pretrained(aside)
    load_tokenizer(path).save_pretrained(aside)
    if (Path(path) / POOLING).is_dir():
        shutil.copytree(Path(path) / POOLING, aside / POOLING)
    (aside / FIGURES).write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    aside.rename(into)


def _identity(path: str, texts: Sequence[str], found: Together, options: PretrainOptions, max_tokens: int) -> str:
    """Hash of all that decides the weights."""
    said = hashlib.sha256(json.dumps([asdict(options), max_tokens, list(texts), found.answers_from]).encode())
    for tensor in (found.pairs, found.counts):
        said.update(tensor.numpy().tobytes())
    for file in sorted(p for p in check_directory(path).iterdir() if p.is_file()):
        said.update(file.read_bytes())
    return said.hexdigest()
