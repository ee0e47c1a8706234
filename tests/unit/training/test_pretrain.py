from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from equipoise.errors import ModelError
from equipoise.models.encoder import TextEncoder, load_backbone, pooling_of
from equipoise.training.held_out_pairs import hold_out
from equipoise.training.naming import naming
from equipoise.training.pretrain import Pretrained, PretrainOptions, pretrain
from equipoise.training.pretrained import pretrained_directory, tokenised
from equipoise.training.start import purchases_in
from equipoise.training.together import Bought, Together, bought, together
from tests.unit.models import tiny
from tests.unit.training import made, recipes, shop

CPU = torch.device("cpu")
CONTRAST = PretrainOptions(1, "contrastive", pretraining_steps=60, pretraining_rate=1e-3, pretraining_batch=32)


def _run(path: str, options: PretrainOptions, found: Together | None = None) -> tuple[TextEncoder, Pretrained]:
    encoder = TextEncoder(load_backbone(path), pooling_of(path))
    texts = tokenised(path, shop.TEXTS, 8, masked=options.pretraining != "contrastive")
    return encoder, pretrain(encoder, texts, found or shop.pairs(), options, device=CPU, say=lambda _: None)


def _vectors(encoder: TextEncoder, path: str) -> torch.Tensor:
    texts = tokenised(path, shop.TEXTS, 8, masked=False)
    with torch.no_grad():
        return encoder.eval()(texts.tokens, texts.mask)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return shop.directory(tmp_path_factory.mktemp("encoder"))


def test_partners_are_found_and_near_duplicates_stay_together(path: str) -> None:
    """On texts that no step has seen: what is bought with a kind is known by its words."""
    encoder, done = _run(path, replace(CONTRAST, pretraining_pull=0.3))
    start = done.history[0]
    assert done.step > 0
    assert done.best["retrieval_loss"] < start["retrieval_loss"] - 0.5
    assert start["recall"] < 0.9 < done.best["recall"]
    now = _vectors(encoder, path)
    same_make_and_kind = (now[:: shop.SIZES] * now[1 :: shop.SIZES]).sum(dim=1)
    other_kinds = (now[:36] @ now[36:].T).mean()
    assert float(same_make_and_kind.min()) > float(other_kinds) + 0.1


def test_the_pull_keeps_neighbours(path: str) -> None:
    without = _run(path, replace(CONTRAST, pretraining_pull=0.0))[1].history[-1]
    little, much = (_run(path, replace(CONTRAST, pretraining_pull=p))[1].history[-1] for p in (1.0, 30.0))
    assert without["moved"] > little["moved"] > much["moved"]
    assert without["kept_neighbours"] < much["kept_neighbours"]


def test_what_held_out_pairs_speak_against_is_not_kept(path: str) -> None:
    """An encoder that knows the shop is given pairs drawn at random, but for those of the held-out texts."""
    encoder, learnt = _run(path, replace(CONTRAST, pretraining_pull=0.3))
    before = {n: t.clone() for n, t in encoder.state_dict().items()}
    true = shop.pairs()
    held = hold_out(true, CONTRAST.seed)
    touching = torch.isin(true.pairs, held.texts).any(dim=1)
    free = held.training.pairs.unique()
    draw = torch.Generator().manual_seed(1)
    noise = torch.stack([free.repeat(3), torch.cat([free[torch.randperm(len(free), generator=draw)] for _ in range(3)])], dim=1)
    noise = torch.cat([noise[noise[:, 0] != noise[:, 1]].sort(dim=1).values, true.pairs[touching]]).unique(dim=0)
    texts = tokenised(path, shop.TEXTS, 8, masked=False)
    wrong = Together(noise, torch.ones(len(noise), dtype=torch.int64))
    assert torch.equal(hold_out(wrong, CONTRAST.seed).texts, held.texts)
    done = pretrain(encoder, texts, wrong, CONTRAST, device=CPU, say=lambda _: None)
    assert learnt.step > 0
    assert done.step == 0
    assert done.history[-1]["retrieval_loss"] > done.history[0]["retrieval_loss"]
    assert all(torch.equal(t, before[n]) for n, t in encoder.state_dict().items())


@pytest.mark.parametrize("kind", ["masked", "contrastive", "both"])
def test_twice_is_the_same_and_the_global_generator_is_left_alone(path: str, kind: Any) -> None:
    options = replace(CONTRAST, pretraining=kind, pretraining_steps=12)
    torch.manual_seed(99)
    here = torch.random.get_rng_state()
    one, first = _run(path, options)
    assert torch.equal(torch.random.get_rng_state(), here)
    two, second = _run(path, options)
    assert first == second
    assert all(torch.equal(t, two.state_dict()[n]) for n, t in one.state_dict().items())
    assert first.history[-1]["moved"] > 0


def test_masked_words_are_learnt(path: str) -> None:
    """The size is one of three whatever the rest is, the kind one of eight: a head that has learnt the slots beats all words."""
    options = replace(CONTRAST, pretraining="masked", pretraining_steps=160, pretraining_pull=0.0)
    losses = [h["training_loss"] for h in _run(path, options)[1].history[1:]]
    assert losses[-1] < np.log(len(shop.WORDS) - 5) - 0.4 < losses[0]


def test_a_decoder_cannot_fill_in_words_but_learns_pairs(tmp_path: Path) -> None:
    path = shop.directory(tmp_path, "qwen")
    with pytest.raises(ModelError, match=r"pretraining = masked, .* it is a decoder, which only reads forwards; .*contrastive"):
        _run(path, replace(CONTRAST, pretraining="both"))
    assert len(_run(path, replace(CONTRAST, pretraining_steps=6))[1].history) == 7


def test_too_few_pairs_are_said(path: str) -> None:
    few = Together(torch.tensor([[0, 20]]), torch.tensor([3]))
    with pytest.raises(ModelError, match=r"with 1 pairs of texts bought together, of which 0 are left to train on"):
        _run(path, CONTRAST, few)


def test_no_held_out_text_is_trained_on_and_answers_are_partners() -> None:
    found = shop.pairs()
    held = hold_out(found, seed=4)
    assert len(held.texts) == -(-len(shop.TEXTS) // 10)
    assert not torch.isin(held.training.pairs, held.texts).any()
    known = {tuple(p) for p in found.pairs.tolist()}
    for anchor, answer in zip(held.asked.tolist(), held.texts[held.answers].tolist(), strict=True):
        assert tuple(sorted((anchor, answer))) in known
    touching = torch.isin(found.pairs, held.texts)
    assert len(held.asked) == int(touching.sum())


def _named() -> tuple[list[str], Together]:
    """The shop's texts, the names of its kinds behind them, and which text has which."""
    number = len(shop.TEXTS)
    kinds = np.array([shop.kind(p) for p in range(number)])
    return [*shop.TEXTS, *(f"kind{k}" for k in range(shop.KINDS))], naming(np.arange(number), kinds, number)


def test_names_are_drawn_alike_and_every_pair_once() -> None:
    found = naming(np.array([0, 1, 2, 2, 3, 3]), np.array([0, 0, 0, 0, 0, 1]), 4)
    assert found.pairs.tolist() == [[0, 4], [1, 4], [2, 4], [3, 4], [3, 5]] and found.answers_from == 4
    assert found.counts.tolist() == [1, 1, 1, 1, 4]
    nothing = naming(np.zeros(0, np.int64), np.zeros(0, np.int64), 4)
    assert nothing.pairs.shape == (0, 2) and len(nothing.counts) == 0


def test_held_out_names_are_found_by_an_encoder_that_never_saw_them(path: str) -> None:
    """What is learnt of six names, that the kind is what a text is called by, holds for the two that were held out."""
    words, found = _named()
    held = hold_out(found, CONTRAST.seed)
    assert (held.texts >= len(shop.TEXTS)).all() and len(held.texts) == 2
    assert (held.asked < len(shop.TEXTS)).all() and len(held.asked) == 2 * shop.MAKES * shop.SIZES
    assert not torch.isin(held.training.pairs, held.texts).any()
    encoder, options = TextEncoder(load_backbone(path), pooling_of(path)), replace(CONTRAST, pretraining="categories")
    texts = tokenised(path, words, 8, masked=False)
    done = pretrain(encoder, texts, found, options, device=CPU, say=lambda _: None)
    assert done.step > 0 and done.best["retrieval_loss"] < 0.5 * done.history[0]["retrieval_loss"]
    with pytest.raises(ModelError, match="with 3 pairs of texts and names of their categories, of which 0 are left"):
        pretrain(encoder, texts, found._replace(pairs=found.pairs[:3], counts=found.counts[:3]), options, device=CPU, say=print)


def test_the_directory_is_a_plain_encoder_made_once(path: str, tmp_path: Path) -> None:
    said: list[str] = []
    options, into = replace(CONTRAST, pretraining_steps=12), tmp_path / "made"
    arguments: dict[str, Any] = {"max_tokens": 8, "device": CPU, "half": None, "into": into, "say": said.append}
    figures = pretrained_directory(path, shop.TEXTS, shop.pairs(), options, **arguments)
    expected, done = _run(path, options)
    assert figures["step"] == done.step
    assert figures["best_recall"] == done.best["recall"]
    again = TextEncoder(load_backbone(into), pooling_of(into))
    assert torch.equal(_vectors(again, str(into)), _vectors(expected, path))
    assert pretrained_directory(path, shop.TEXTS, shop.pairs(), options, **arguments) == json.loads(json.dumps(figures))
    assert said[-1] == "pre-training: done already by an earlier attempt of this run"
    other = pretrained_directory(path, shop.TEXTS, shop.pairs(), replace(options, pretraining_rate=1e-5), **arguments)
    assert other["identity"] != figures["identity"]


def test_purchases_are_counted_once_over_the_cuts() -> None:
    """One user seen from two cuts, another from one; a look and an item without text are no purchase."""
    one, two = [1] * 16, [2] * 16
    batch = {
        "user_id": torch.tensor([one, one, two], dtype=torch.uint8),
        "cut_day": torch.tensor([100, 107, 100]),
        "items": torch.tensor([[11, 12, 0], [11, 12, 13], [11, 99, 12]]),
        "types": torch.tensor([[8, 8, 0], [8, 8, 2], [8, 8, 8]]),  # 8: purchase, 2: view
        "ages": torch.tensor([[5.0, 4.0, 0.0], [12.0, 11.0, 3.0], [9.0, 9.0, 9.0]]),
    }
    found = bought([batch], np.array([11, 12, 13]), np.array([0, 1, 1]))
    rows = sorted(zip(*(c.tolist() for c in found), strict=True))
    assert len(rows) == 4
    assert [(day, text) for _, day, text in rows] in ([(91, 0), (91, 1), (95, 0), (96, 1)], [(95, 0), (96, 1), (91, 0), (91, 1)])
    same_day, next_day = (together(found, days=d, seed=1) for d in (0, 1))
    assert (same_day.pairs.tolist(), same_day.counts.tolist()) == ([[0, 1]], [2])  # from either end
    assert (next_day.pairs.tolist(), next_day.counts.tolist()) == ([[0, 1]], [4])


def test_pairs_of_small_baskets_are_all_of_them() -> None:
    """Against every two of a basket, by hand of itertools; users next to one another in number do not mix."""
    draw = np.random.default_rng(2)
    users, days, texts = draw.integers(0, 5, 60), draw.integers(0, 6, 60), draw.integers(0, 40, 60)
    rows = np.unique(np.stack([users, days, texts], axis=1), axis=0)
    expected: dict[tuple[int, int], int] = {}
    for i, (user, day, text) in enumerate(rows.tolist()):
        for j, (other, when, what) in enumerate(rows.tolist()):
            if i != j and user == other and abs(day - when) <= 1 and text != what:
                key = min(text, what), max(text, what)
                expected[key] = expected.get(key, 0) + 1
    found = together(Bought(*rows.T), days=1, seed=1)
    assert dict(zip(map(tuple, found.pairs.tolist()), found.counts.tolist(), strict=True)) == expected


def test_a_large_basket_gives_so_many_partners_and_no_more() -> None:
    found = together(Bought(np.zeros(100, int), np.zeros(100, int), np.arange(100)), days=0, seed=1)
    assert int(found.counts.sum()) <= 100 * 16
    assert len(torch.unique(found.pairs)) == 100


def test_purchases_come_out_of_packed_examples(tmp_path: Path) -> None:
    """Through the stream, against a plain loop over the same users."""
    files = recipes.example_files(tmp_path / "train", [40, 40], seed=1)
    keys, texts = np.arange(1, tiny.ITEMS - 3), np.arange(1, tiny.ITEMS - 3) // 2
    expected = set()
    for place in range(2):
        rows = made.learnable(40, 1 + place)
        for i in range(40):
            for item, kind, age in zip(*(rows[n][i].tolist() for n in ("items", "types", "ages")), strict=True):
                if kind == 8 and item in keys:
                    expected.add((1000 * place + i, 17000 - int(age), item // 2))
    found = purchases_in(files, recipes.WIDTHS, 1, keys, texts)
    users = sorted({u for u, _, _ in expected}, key=lambda u: (u % 2**32).to_bytes(16, "little")[::-1])
    assert len(found.users) == len(expected)
    assert {(users[u], d, t) for u, d, t in zip(*(c.tolist() for c in found), strict=True)} == expected
