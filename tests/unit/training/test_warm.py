"""Incremental training: whose weights it begins with, what it takes of them, and why it does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from equipoise.errors import ModelError
from equipoise.models import BehaviourModel, load_package
from equipoise.models.encoder import POOLING
from equipoise.models.heads import Adapter
from equipoise.models.methods import Method
from equipoise.models.package import MANIFEST, checksums
from equipoise.training.launch import _begun
from equipoise.training.registry import Registry
from equipoise.training.warm import go_on, predecessor, why_not
from tests.unit.models import tiny
from tests.unit.models.test_package import META as TINY
from tests.unit.training.packages import DATES, hollow, package
from tests.unit.training.recipes import TOKENS, recipe

EARLIER = {"as_of": "2017-10-09", "fitted_until": "2017-09-11", "validated_from": "2017-09-11", "seen_until": "2017-10-09"}
LORA = Method(lora_rank=2, lora_alpha=4.0)
SETTINGS = {"encoder": {"path": "here"}, "training": {"method": "lora"}}


def trained(net: BehaviourModel) -> None:
    """As training leaves it: every part is another than at the beginning. Heads have adapters."""
    width = net.encoder.width
    net.heads.category.adapter, net.heads.value.adapter = Adapter(width, 2), Adapter(width, 2)
    generator = torch.Generator().manual_seed(3)
    for parameter in net.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def test_the_latest_model_of_an_earlier_date_is_gone_on_with_also_when_the_run_is_repeated(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    assert predecessor(registry, date(2017, 11, 6)) is None
    for name, as_of in (("old", "2017-09-11"), ("older", "2017-10-09"), ("mine", "2017-11-06")):
        hollow(registry, name, dates={**DATES, "as_of": as_of})
        registry.promote(name)
    assert predecessor(registry, date(2017, 11, 6)) == "older", "not what this very date promoted: a repeated run is the same run"
    assert predecessor(registry, date(2017, 12, 4)) == "mine"
    registry.back("bad")
    assert predecessor(registry, date(2017, 12, 4)) == "older", "a model that was withdrawn is not gone on with"


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({}, ""),
        ({"dates": DATES}, "seen labels until 2017-11-06, and validation begins at 2017-10-09"),
        ({"beside": {"method": "prefix"}}, "not merged"),
        ({"categories": [*TINY.categories[:-1], "new"]}, "categories differ: 1 are gone and 1 are new"),
        ({"categories": TINY.categories[::-1]}, "categories differ"),
        ({"max_tokens": TINY.max_tokens + 1}, "max_tokens differs"),
        ({"route": "tower"}, "route differs: tower, now text"),
        ({"settings": {**SETTINGS, "encoder": {"path": "there"}}}, "encoder differs: there, now here"),
        ({"settings": {**SETTINGS, "training": {"method": "full"}}}, "method differs: full, now lora"),
        ({"settings": {**SETTINGS, "training": {"method": "lora", "task_adapter_width": 4}}}, "adapter_width differs: 4, now 0"),
        ({"pooling": "cls"}, "pooling differs: cls, now mean"),
        ({"pretraining": {"kind": "both"}}, "pre-trained (training.pretraining = 'both'), and this one is not"),
    ],
)
def test_another_model_is_refused_with_the_reason(theirs: dict[str, Any], said: str, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    hollow(registry, "old", **{"dates": EARLIER, "settings": SETTINGS, **theirs})
    reason = why_not(registry.path("old"), replace(TINY, dates=DATES, settings=SETTINGS), LORA, trusted_encoder="here")
    assert (said in reason) if said else reason == ""


def test_what_reads_texts_is_taken_and_what_counts_is_fitted_anew(tmp_path: Path) -> None:
    made = replace(recipe(tmp_path), task_adapter_width=2)
    old = package(tmp_path / "old", made.encoder_path, "old", trained, max_tokens=TOKENS)
    fresh, begun = (_begun(replace(made, warm=w), torch.device("cpu")).eval() for w in ("", str(old)))
    theirs = load_package(old).model
    tokens, mask = torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.long)

    def vector(model: Any) -> torch.Tensor:
        return model.encoder(tokens, mask)

    torch.testing.assert_close(vector(begun), vector(theirs))
    assert not torch.allclose(vector(begun), vector(fresh), atol=1e-2)
    mine, its, new = (dict(m.heads.state_dict()) for m in (begun, theirs, fresh))
    for name in mine:
        carried = name.startswith(("category.out.", "category.adapter.", "value."))
        torch.testing.assert_close(mine[name], (its if carried else new)[name], msg=name)
    assert not torch.equal(mine["category.pairs.bias"], its["category.pairs.bias"])
    counted = load_file(made.start.counted)
    torch.testing.assert_close(mine["category.pairs.bias"], counted["pairs.bias"])
    assert begun.heads.category.out.weight.requires_grad and not begun.heads.category.pairs.bias.requires_grad


@pytest.mark.parametrize("stated", [True, False])
def test_the_vector_is_made_as_the_encoder_was_pretrained(stated: bool, tmp_path: Path) -> None:
    """Of an encoder that reads its first token; `stated` false: the model is of a version that did not write that beside it."""
    made = recipe(tmp_path)
    (Path(made.encoder_path) / POOLING).mkdir()
    (Path(made.encoder_path) / POOLING / "config.json").write_text('{"pooling_mode_cls_token": true}')
    old = package(tmp_path / "old", made.encoder_path, "old", pooling="cls")
    if not stated:
        shutil.rmtree(old / "encoder" / POOLING)
        (old / MANIFEST).write_text(json.dumps({"sha256": checksums(old)}))
    again = replace(made, meta=replace(made.meta, pooling="cls"), warm=str(old))
    assert _begun(again, torch.device("cpu")).encoder.pooling == "cls"


def test_a_training_that_goes_on_is_another_training(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    names = [replace(made, warm=w).identity(2) for w in ("", "/a/one", "/a/two", "/b/two")]
    assert len(set(names)) == 3, "the folder's name counts, where it lies does not"


def test_a_model_of_other_sizes_is_refused(tmp_path: Path) -> None:
    made = recipe(tmp_path)
    old = package(tmp_path / "old", made.encoder_path, "old", max_tokens=TOKENS)
    other = tiny.model(made.encoder_path)
    other.heads.category.out = torch.nn.Linear(3, 2)
    with pytest.raises(ModelError, match=r"(?s)cannot be gone on with.*warm_start = 'none'"):
        go_on(other, old)
