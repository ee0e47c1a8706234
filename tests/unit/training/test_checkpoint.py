"""A checkpoint that was damaged on the disk is never gone on with, and a training begun anew ends in the same weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.fit_pairs import PairOptions
from equipoise.models.statistics import Prior
from equipoise.training import start
from equipoise.training.checkpoint import FILES, weights_of
from tests.unit.models import tiny
from tests.unit.training import made
from tests.unit.training.recipes import WIDTHS, recipe

HARMS: dict[str, Callable[[bytes], bytes | None]] = {
    "cut off": lambda b: b[: len(b) // 2],
    "empty": lambda b: b"",
    "a flipped byte": lambda b: b[: -len(b) // 3] + bytes([b[-len(b) // 3] ^ 1]) + b[1 - len(b) // 3 :],
    "gone": lambda b: None,
}
STEPS = 4


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def whole(encoder_path: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint of a training that stopped after STEPS steps."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made.training(encoder_path, folder=folder, max_steps=STEPS, checkpoint_every=2).run()
    return folder


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", [*FILES, "state.json"])
def test_a_damaged_file_is_named_and_changes_nothing(
    encoder_path: str, whole: Path, tmp_path: Path, name: str, harm: str
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "checkpoints"))
    file = folder / f"step-{STEPS:08d}" / name
    left = HARMS[harm](before := file.read_bytes())
    assert left != before
    file.unlink() if left is None else file.write_bytes(left)
    training = made.training(encoder_path, folder=folder, max_steps=STEPS, checkpoint_every=2)
    untouched = weights_of(training._model)
    with pytest.raises(ModelError, match=r"step-0+4' is damaged .* run again: the training then begins anew"):
        training.run()
    assert all(torch.equal(w, untouched[n]) for n, w in weights_of(training._model).items())
    assert file.exists() == (left is not None), "what is left is evidence"


def test_the_way_out_ends_in_the_same_weights(encoder_path: str, whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "checkpoints"))
    (folder / f"step-{STEPS:08d}" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="delete"):
        made.training(encoder_path, folder=folder, max_steps=STEPS, checkpoint_every=2).run()
    shutil.rmtree(folder)
    anew = made.training(encoder_path, folder=folder, max_steps=STEPS, checkpoint_every=2).run()
    untroubled = made.training(encoder_path, max_steps=STEPS).run()
    assert all(torch.equal(w, anew.weights[n]) for n, w in untroubled.weights.items())
    assert anew.progress.history == untroubled.progress.history


def test_a_later_attempt_begins_with_what_an_earlier_one_fitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine a new fit would differ in its last bits, and the checkpoints would be of another training."""
    first, fits, fit = recipe(tmp_path), [], start.fit_pairs
    files = start.Files(first.train_files, first.validation_files, WIDTHS)
    options = PairOptions(seed=1, pair_steps=6, pair_batch=16, pair_learning_rate=6e-3, visit_weight=0.1)
    monkeypatch.setattr(start, "fit_pairs", lambda *given: fits.append(given[3]) or fit(*given))

    def again(options: PairOptions = options) -> start.Start:
        return start.fitted_start(
            files, tiny.POPULATION, Prior(2.0, 1.0), options, fit=False, into=first.checkpoints, say=lambda _: None
        )

    assert again() == first.start and not fits
    assert replace(first, start=again()).identity(2) == first.identity(2)
    other = again(replace(options, seed=2))
    assert len(fits) == 1 and other.counted_sha256 != first.start.counted_sha256, "other options are fitted anew"
    assert again() == first.start and len(fits) == 2
    Path(first.start.fresh).write_bytes(b"")
    assert again() == first.start and len(fits) == 3, "a damaged file is fitted anew"
    (Path(first.checkpoints) / start.KEPT).write_text("{")
    assert again() == first.start and len(fits) == 4
