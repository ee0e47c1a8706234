"""The pair model: text adds nothing until it is trained, learns a planted word, keeps what it knew, and survives a save."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from equipoise.errors import ModelError
from equipoise.inference.pairs import pair_logits
from equipoise.models.cross import RIDGE, PairHead, PairMeta, PairModel, build_pair, fit_base, load_pair, save_pair
from equipoise.models.heads import signed_log1p
from equipoise.models.methods import Method
from equipoise.models.package import HEADS
from equipoise.models.pair_text import PairTexts
from equipoise.training.cross import PairRows, PairTraining, log_loss, train_pair
from tests.unit.models import tiny

FULL = Method("full")
USERS = ["often soft drinks", "lately beef cheese weekly", "", "active items frozen often often", None]
ITEMS = ["pizza", "frozen pizza", "milk", "beef", "soft drinks cheese", None]


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


def texts() -> PairTexts:
    return PairTexts(tiny.tokenizer(), USERS, ITEMS, 12)


def rows(number: int, seed: int, *, planted: bool = True) -> PairRows:
    """Pairs of three features, of which one tells and one has holes; planted: items with 'pizza' come true more often."""
    rng = np.random.default_rng(seed)
    user, item = rng.integers(0, len(USERS), number), rng.integers(0, len(ITEMS), number)
    features = rng.normal(size=(number, 3)).astype(np.float32) * [1, 50, 3]
    logit = 1.5 * np.sign(features[:, 0]) * np.log1p(np.abs(features[:, 0])) - 1 + planted * 3.0 * np.isin(item, [0, 1])
    features[rng.random(number) < 0.2, 2] = np.nan
    return PairRows(user, item, features.astype(np.float32), rng.random(number) < 1 / (1 + np.exp(-logit)))


def logits(net: PairModel, of: PairRows, tokens_per_batch: int = 4096) -> np.ndarray:
    return pair_logits(net, texts(), of.user, of.item, of.features, tokens_per_batch=tokens_per_batch)


def shaken(encoder_path: str, method: Method) -> PairModel:
    """A model whose text says something."""
    net = build_pair(encoder_path, features=3, method=method, seed=1)
    fit_base(net.heads, *rows(300, 3)[2:])
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for _, parameter in net.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return net.eval()


def test_the_feature_logit_is_that_of_another_library() -> None:
    of = rows(2000, 1)
    head = PairHead(4, 3)
    fit_base(head, of.features, of.label)
    x = signed_log1p(torch.from_numpy(of.features.astype(np.float64))).numpy()
    x = np.nan_to_num((x - np.nanmean(x, 0)) / np.nanstd(x, 0))
    other = LogisticRegression(C=1 / (RIDGE * len(x)), tol=1e-10, max_iter=1000).fit(x, of.label)
    np.testing.assert_allclose(head.base.weight.numpy()[0], other.coef_[0], atol=2e-4)
    np.testing.assert_allclose(head.base.bias.numpy(), other.intercept_, atol=2e-4)


def test_one_class_and_no_feature_are_still_a_logit() -> None:
    head = PairHead(4, 0)
    fit_base(head, np.zeros((8, 0), np.float32), np.arange(8) < 2)
    assert torch.sigmoid(head.counted(torch.zeros(1, 0))).item() == pytest.approx(0.25, abs=1e-6)
    certain = PairHead(4, 2)
    fit_base(certain, np.ones((8, 2), np.float32), np.zeros(8, bool))
    assert torch.sigmoid(certain.counted(torch.ones(1, 2))).item() < 1e-3


@pytest.mark.parametrize("method", [FULL, Method(lora_rank=2, lora_alpha=4.0)])
def test_an_untrained_text_changes_nothing(encoder_path: str, method: Method) -> None:
    net, of = build_pair(encoder_path, features=3, method=method, seed=1), rows(300, 2)
    fit_base(net.heads, of.features, of.label)
    counted = net.heads.counted(torch.from_numpy(of.features)).detach().numpy()
    np.testing.assert_allclose(logits(net, of), counted, atol=1e-6)
    assert np.std(counted) > 0.1
    assert logits(shaken(encoder_path, method), of) != pytest.approx(counted, abs=0.05), "and a text that speaks changes it"


def test_a_planted_word_is_learnt_and_chance_is_not(encoder_path: str) -> None:
    how = PairTraining(FULL, learning_rate=2e-3, head_learning_rate=2e-2, passes=6, batch_pairs=64, seed=3)
    net = build_pair(encoder_path, features=3, method=FULL, seed=1)
    of, later = rows(1500, 5), rows(1000, 6)
    told = train_pair(net, texts(), of, rows(500, 7), how)
    assert told.kept_step > 0 and told.loss < told.base_loss - 0.05
    found = logits(net, later)
    pizza = np.isin(later.item, [0, 1])
    assert found[pizza].mean() - found[~pizza].mean() == pytest.approx(3.0, abs=0.8), "the size of what was planted"
    base = net.heads.counted(torch.from_numpy(later.features)).detach().numpy()
    assert log_loss(found, later.label) < log_loss(base, later.label) - 0.05


def test_a_text_that_does_not_help_is_dropped(encoder_path: str) -> None:
    how = PairTraining(FULL, learning_rate=5e-2, head_learning_rate=0.5, passes=2, batch_pairs=64, patience=2, seed=3)
    net, of = build_pair(encoder_path, features=3, method=FULL, seed=1), rows(600, 8, planted=False)
    told = train_pair(net, texts(), of, rows(400, 9, planted=False), how)
    assert told.kept_step == 0 and told.loss == told.base_loss and told.steps < how.steps(600)
    counted = net.heads.counted(torch.from_numpy(of.features)).detach().numpy()
    np.testing.assert_allclose(logits(net, of), counted, atol=1e-6)


def test_the_same_seed_trains_the_same_model(encoder_path: str) -> None:
    how = PairTraining(Method(lora_rank=2, lora_alpha=4.0), passes=1, batch_pairs=32, max_steps=5, seed=3)
    found = []
    for _ in range(2):
        net = build_pair(encoder_path, features=3, method=how.method, seed=1)
        with torch.random.fork_rng():
            torch.manual_seed(0)  # dropout
            train_pair(net, texts(), rows(300, 5), rows(100, 6), how)
        found.append(logits(net, rows(50, 7)))
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("family", ["bert", "roberta", "qwen", "gpt2"])
def test_scores_do_not_depend_on_what_is_asked_together(tmp_path: Path, family: str) -> None:
    net, of = shaken(tiny.directory(tmp_path, family), FULL), rows(60, 2)
    assert net.segmented == (family in ("bert", "roberta"))
    together = logits(net, of)
    alone = np.concatenate([logits(net, of.take(np.array([i]))) for i in range(60)])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    order = np.random.default_rng(1).permutation(60)
    np.testing.assert_allclose(logits(net, of.take(order), 40), together[order], atol=2e-5)
    assert len(logits(net, of.take(np.arange(0)))) == 0


def test_users_and_items_without_text_have_a_score(encoder_path: str) -> None:
    net = shaken(encoder_path, FULL)
    user, item = (a.ravel() for a in np.meshgrid(np.arange(len(USERS)), np.arange(len(ITEMS))))
    found = pair_logits(net, texts(), user, item, np.zeros((len(user), 3), np.float32))
    assert np.isfinite(found).all()
    silent = found.reshape(len(ITEMS), len(USERS))
    np.testing.assert_allclose(silent[:, 2], silent[:, 4], atol=1e-6), "null and empty are the same"
    assert np.ptp(silent[:, 2]) > 1e-3, "and the item is still read"


def test_who_bought_and_what_is_bought_are_told_apart(encoder_path: str) -> None:
    net = shaken(encoder_path, FULL)
    both = PairTexts(tiny.tokenizer(), ["soft drinks", "pizza"], ["pizza", "soft drinks"], 12)
    nothing = np.zeros((2, 3), np.float32)
    one, other = pair_logits(net, both, np.array([0, 1]), np.array([0, 1]), nothing)
    assert abs(one - other) > 1e-4


@pytest.mark.parametrize("method", [FULL, Method(lora_rank=2, lora_alpha=4.0, lora_layers="all")])
def test_what_is_loaded_says_what_was_saved(tmp_path: Path, encoder_path: str, method: Method) -> None:
    net, of = shaken(encoder_path, method), rows(40, 2)
    meta = PairMeta(12, ["a", "b", "c"], net.encoder.pooling, {"loss": 0.5}, {"seed": 1})
    save_pair(tmp_path / "pair", net, tokenizer_path=encoder_path, meta=meta)
    loaded = load_pair(tmp_path / "pair")
    assert loaded.meta == meta
    read = PairTexts(loaded.tokenizer, USERS, ITEMS, loaded.meta.max_tokens)
    found = pair_logits(loaded.model, read, of.user, of.item, of.features)
    np.testing.assert_allclose(found, logits(net, of), atol=1e-5)
    with pytest.raises(ModelError, match="is not empty"):
        save_pair(tmp_path / "pair", net, tokenizer_path=encoder_path, meta=meta)
    (tmp_path / "pair" / HEADS).write_bytes(b"other")
    with pytest.raises(ModelError, match=r"damaged.*heads.safetensors"):
        load_pair(tmp_path / "pair")


def test_what_cannot_be_is_refused(tmp_path: Path, encoder_path: str) -> None:
    with pytest.raises(ModelError, match="'prefix' stays beside"):
        build_pair(encoder_path, features=3, method=Method("prefix"), seed=1)
    net = build_pair(encoder_path, features=3, method=FULL, seed=1)
    with pytest.raises(ValueError, match="10 training pairs and 5 for validation"):
        train_pair(net, texts(), rows(10, 1), rows(5, 1), PairTraining(FULL))
    with torch.no_grad():
        net.heads.out.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="NaN"):
        save_pair(tmp_path / "nan", net, tokenizer_path=encoder_path, meta=PairMeta(12, ["a"] * 3, "mean"))
    assert not (tmp_path / "nan").exists()
