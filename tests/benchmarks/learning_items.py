"""New items: an encoder fine-tuned on how earlier new items found their buyers, against the untouched one and attributes.

score(u, i) = b · log Σ over the user's history of weight · exp(20 (cosine − 1)) + v · vector of i: likeness, and how new items
with such a text sell. b, v and the encoder's LoRA are trained by a softmax over the items that were new at earlier cuts; nothing
at or after the origin is read. Passes, rates and the weight beside the learnt ranker are chosen one origin earlier.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from equipoise.evaluate.bootstrap import Measure, interval, per_user, resampled
from equipoise.evaluate.metrics import ranking
from equipoise.models.behaviour import encoder_with
from equipoise.models.encoder import TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.methods import Method

SHARPNESS, FLOOR = 20.0, 1e-30
HALF_LIFE_DAYS, NOVELTY_DAYS, CUT_DAYS = 112.0, 56, 14
SHORT, LONG = 10, 50
MAX_TOKENS = 32
STEPS, EVERY = 120, 40
SIZES = {False: (64, 64, 1024), True: (4, 8, 32)}
"""Of a step: users who took something new, items of each's history (the heaviest), and other new items; whether it is a try."""

RESAMPLES = 2000
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8, 1.2, 2.0)
CUTS = 8
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """New items of an origin, who takes them, and the users' decayed history; items are places in the texts."""

    items: Ints
    users: int
    truth: Ints
    own_user: Ints
    own_item: Ints
    own_weight: Floats
    ranker: Floats

    @property
    def size(self) -> Ints:
        return np.bincount(self.truth // len(self.items), minlength=self.users)


class Ranker(nn.Module):
    """The encoder, how sharply its likeness counts, and how new items with such a vector sell."""

    def __init__(self, encoder: TextEncoder, *, sells: bool) -> None:
        super().__init__()
        self.encoder = encoder
        self.likeness = nn.Parameter(torch.tensor(1.0))
        self.sells = nn.Linear(encoder.width, 1, bias=False)
        nn.init.zeros_(self.sells.weight)
        self.sells.weight.requires_grad_(sells)

    def forward(self, history: Tensor, own: Tensor, new: Tensor) -> Tensor:
        """history (users, own items) weights that sum to 1, own (own items, d), new (m, d) → scores (users, m)."""
        near = history @ (SHARPNESS * (own @ new.T - 1.0)).exp()
        return self.likeness * (near + FLOOR).log() + self.sells(new).T * math.sqrt(new.shape[1])


class Shop:
    """The log and the tokens on a device."""

    def __init__(self, asked: argparse.Namespace) -> None:
        data = dict(np.load(asked.data / "learning.npz"))
        self.device = torch.device(asked.device)
        self.texts = np.array(bytes(data["items"]).decode().split("\n"))
        self.user, self.day = data["line_user"].astype(np.int64), data["line_day"].astype(np.int64)
        self.item = data["line_item"].astype(np.int64)
        self.distinct, self.number = np.unique(self.texts, return_inverse=True)
        told = load_tokenizer(asked.encoder)(self.distinct.tolist(), truncation=True, max_length=MAX_TOKENS, padding="longest")
        self.tokens = torch.tensor(told["input_ids"], device=self.device)
        self.mask = torch.tensor(told["attention_mask"], device=self.device)
        self.worlds = {n: self._world(data, n) for n in ("chosen", "test")}
        days = {"test": int(self.day.max()) + 1}
        self.origin = days | {"chosen": days["test"] - 28}
        self.first = np.full(len(self.texts), 1 << 30)
        np.minimum.at(self.first, self.item, self.day)

    @staticmethod
    def _world(data: dict[str, Any], name: str) -> World:
        items, ranker = data[f"{name}_items"].astype(np.int64), data[f"{name}_ranker"].astype(np.float64)
        rest = (data[f"{name}_{k}"].astype(np.int64) for k in ("truth", "own_user", "own_item"))
        return World(items, len(ranker), *rest, data[f"{name}_own_weight"].astype(np.float64), ranker)

    @torch.no_grad()
    def vectors(self, encoder: TextEncoder) -> Tensor:
        """(distinct texts, d)."""
        encoder.eval()
        step = 4096
        parts = [encoder(*self.cut(self.tokens[i : i + step], self.mask[i : i + step])) for i in range(0, len(self.tokens), step)]
        return torch.cat(parts)

    @staticmethod
    def cut(tokens: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        longest = int(mask.sum(1).max())
        return tokens[:, :longest], mask[:, :longest]

    @torch.no_grad()
    def scores(self, net: Ranker, world: World) -> Floats:
        """(users, items) of a world, on whole histories."""
        vectors = self.vectors(net.encoder)
        own, new = self.number[world.own_item], self.number[world.items]
        seen, place = np.unique(own, return_inverse=True)
        whole = np.bincount(world.own_user, world.own_weight, world.users)[world.own_user]
        at = torch.from_numpy(np.stack([world.own_user, place])).to(self.device)
        weight = torch.from_numpy((world.own_weight / whole).astype(np.float32)).to(self.device)
        history = torch.sparse_coo_tensor(at, weight, (world.users, len(seen))).coalesce()
        rows, out = vectors[torch.from_numpy(seen).to(self.device)], []
        asked = vectors[torch.from_numpy(new).to(self.device)]
        for start in range(0, len(new), 512):
            part = asked[start : start + 512]
            near = torch.sparse.mm(history, (SHARPNESS * (rows @ part.T - 1.0)).exp())
            out.append(net.likeness * (near + FLOOR).log() + net.sells(part).T * math.sqrt(part.shape[1]))
        return torch.cat(out, 1).double().cpu().numpy()

    def lessons(self, origin: int, heaviest: int) -> list[tuple[Ints, list[tuple[Ints, Ints, Floats]]]]:
        """Per earlier cut: the items that were new in the NOVELTY_DAYS after it, and of users who took some: which, and their
        heaviest items before, with weights."""
        out, by_user = [], np.argsort(self.user, kind="stable")
        begins = np.searchsorted(self.user[by_user], np.arange(int(self.user.max()) + 2))
        for k in range(CUTS):
            cut = origin - NOVELTY_DAYS - k * CUT_DAYS
            new = np.flatnonzero((self.first >= cut) & (self.first < cut + NOVELTY_DAYS))
            took = (
                (self.day >= cut)
                & (self.day < cut + NOVELTY_DAYS)
                & (self.first[self.item] >= cut)
                & (self.first[self.item] < cut + NOVELTY_DAYS)
            )
            past = self.day < cut
            pupils = []
            for u in np.intersect1d(self.user[took], self.user[past]):
                lines = slice(begins[u], begins[u + 1])  # of this user, in the order of `by_user`
                mine, day, bought = self.item[by_user[lines]], self.day[by_user[lines]], took[by_user[lines]]
                held = day < cut
                texts, place = np.unique(self.number[mine[held]], return_inverse=True)
                weight = np.bincount(place, 0.5 ** ((cut - day[held]) / HALF_LIFE_DAYS))
                best = np.argsort(-weight, kind="stable")[:heaviest]
                pupils.append(
                    (np.unique(mine[bought]), np.sort(texts[best]), weight[best[np.argsort(texts[best])]] / weight[best].sum())
                )
            out.append((new, pupils))
        return out


def measured(scores: Floats, world: World) -> dict[str, Measure]:
    """NDCG@10 and recall@50 of every user."""
    lists = np.argsort(-scores, axis=1, kind="stable")[:, :LONG]
    hits = ranking.matches(lists, world.truth, len(world.items))
    return {
        "NDCG@10": per_user("ndcg", ranking.ndcg(hits[:, :SHORT], world.size), SHORT),
        "recall@50": per_user("recall", ranking.recall(hits, world.size), LONG),
    }


def standard(scores: Floats) -> Floats:
    return np.asarray((scores - scores.mean()) / scores.std())


def loss_of(
    net: Ranker, shop: Shop, lesson: Any, draw: np.random.Generator, first: Tensor, pull: float, sizes: tuple[int, int, int]
) -> Tensor:
    """Mean over users of the cross-entropy of what they took among the new items drawn, and how far vectors moved."""
    new, pupils = lesson
    some = [pupils[i] for i in draw.choice(len(pupils), min(sizes[0], len(pupils)), replace=False)]
    taken = np.unique(np.concatenate([p[0] for p in some]))
    new = np.union1d(taken, draw.choice(new, min(sizes[2], len(new)), replace=False))
    own = np.unique(np.concatenate([p[1] for p in some]))
    texts = np.unique(np.concatenate([own, shop.number[new]]))
    at = torch.from_numpy(texts).to(shop.device)
    vectors = net.encoder(*shop.cut(shop.tokens[at], shop.mask[at]))
    history = torch.zeros(len(some), len(own))
    truth = torch.zeros(len(some), len(new))
    for row, (bought, items, weight) in enumerate(some):
        history[row, np.searchsorted(own, items)] = torch.from_numpy(weight).float()
        truth[row, np.searchsorted(new, bought)] = 1.0 / len(bought)
    places = [torch.from_numpy(np.searchsorted(texts, t)).to(shop.device) for t in (own, shop.number[new])]
    scores = net(history.to(shop.device), vectors[places[0]], vectors[places[1]])
    loss = -(truth.to(shop.device) * scores.log_softmax(1)).sum(1).mean()
    moved = 1.0 - (vectors * first[at]).sum(1).mean()
    return loss + pull * moved


def train(
    asked: argparse.Namespace, shop: Shop, name: str, way: tuple[Method, float, float, bool], seed: int, steps: int, lessons: Any
) -> Any:
    """Yields the steps made and the model, every EVERY steps."""
    method, rate, pull, sells = way
    torch.manual_seed(seed)
    encoder = encoder_with(load_backbone(asked.encoder), pooling_of(asked.encoder), method).to(shop.device)
    encoder.autocast = torch.bfloat16 if shop.device.type == "cuda" else None
    net = Ranker(encoder, sells=sells).to(shop.device)
    first = shop.vectors(encoder)
    groups = [
        {"params": [p for p in encoder.parameters() if p.requires_grad], "lr": rate},
        {"params": [net.likeness, net.sells.weight], "lr": 1e-2},
    ]
    for group in groups:
        group["peak"] = group["lr"]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=0.01)
    draw = np.random.default_rng(seed)
    yield 0, net
    for step in range(steps):
        net.train()
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * min(1.0, (step + 1) / 20) * (1.0 - step / steps)
        loss = loss_of(net, shop, lessons[int(draw.integers(len(lessons)))], draw, first, pull, SIZES[bool(asked.few)])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            yield step + 1, net


LORA = Method("lora", lora_rank=8, lora_layers="all")
WAYS: dict[str, tuple[Method, float, float, bool]] = {
    "likeness alone, LoRA 1e-4, pull 1": (LORA, 1e-4, 1.0, False),
    "likeness alone, LoRA 3e-4, pull 3": (LORA, 3e-4, 3.0, False),
    "likeness alone, LoRA 3e-4, pull .3": (LORA, 3e-4, 0.3, False),
    "with sales, LoRA 3e-4, pull 1": (LORA, 3e-4, 1.0, True),
}
"""Tried before: with sales learnt on vectors that are held, or beside LoRA at pull .3, the language alone falls behind the
untouched one for a hundred steps and more."""


def items(asked: argparse.Namespace) -> None:
    """Prints what was tried one origin earlier, and the chosen one at the last."""
    began = time.monotonic()
    shop = Shop(asked)
    sizes = SIZES[bool(asked.few)]
    lessons = {n: shop.lessons(o, sizes[1]) for n, o in shop.origin.items()}
    counts = ", ".join(f"{len(new):,} new items and {len(pupils):,} buyers" for new, pupils in lessons["test"][:2])
    say(f"\n{len(shop.distinct):,} distinct texts; lessons such as {counts}; {time.monotonic() - began:.0f} s to make them")
    world, steps = shop.worlds["chosen"], asked.few or STEPS
    say("\nOne origin earlier, NDCG@10 / recall@50 of the language alone, and the best weight beside the learnt ranker:\n")
    say("| way | step | alone | weight | beside the ranker | seconds |")
    say("|---|---|---|---|---|---|")
    alone = values(measured(world.ranker, world))
    say(f"| ranker without language | | {alone} | | | |")
    best: tuple[float, str, int, float] | None = None
    for name, way in WAYS.items() if not asked.few else list(WAYS.items())[1:2]:
        began = time.monotonic()
        for step, net in train(asked, shop, name, way, 1, steps, lessons["chosen"]):
            if step == 0 and name != next(iter(WAYS)) and not asked.few:
                continue
            language = shop.scores(net, world)
            tried = {w: measured(standard(world.ranker) + w * standard(language), world)["NDCG@10"].value() for w in WEIGHTS}
            weight = max(tried, key=lambda w: tried[w])
            beside = measured(standard(world.ranker) + weight * standard(language), world)
            cells = name, step, values(measured(language, world)), weight, values(beside), f"{time.monotonic() - began:.0f}"
            say(f"| {' | '.join(map(str, cells))} |")
            if best is None or tried[weight] > best[0]:
                best = tried[weight], name, step, weight
    assert best is not None
    _, name, stop, weight = best
    say(f"\nchosen: {name}, {stop} of {steps} steps, weight {weight}; {asked.seeds} seeds at the last origin\n")
    last(asked, shop, lessons["test"], name, stop, weight, steps)


def last(asked: argparse.Namespace, shop: Shop, lessons: Any, name: str, stop: int, weight: float, steps: int) -> None:
    """The table of the last origin: each way alone, beside the ranker, and the differences from the ranker."""
    world = shop.worlds["test"]
    found: dict[str, list[dict[str, Measure]]] = {"ranker without language": [measured(world.ranker, world)]}
    for seed in range(1, asked.seeds + 1):
        for step, net in train(asked, shop, name, WAYS[name], seed, steps, lessons):
            told = "untouched" if step == 0 else "fine-tuned"
            if (step == 0 and seed > 1) or step not in (0, stop):
                continue
            language = shop.scores(net, world)
            found.setdefault(f"{told} encoder alone", []).append(measured(language, world))
            beside = measured(standard(world.ranker) + weight * standard(language), world)
            found.setdefault(f"ranker + {told} encoder", []).append(beside)
            if step == stop:
                break
    table(found, "ranker without language", world)


def table(found: dict[str, list[dict[str, Measure]]], against: str, world: World) -> None:
    """A line per method: its measures, the mean of its seeds, and the differences from the method `against`."""
    say("| method | NDCG@10 | − ranker | spread of seeds | recall@50 | − ranker |")
    say("|---|---|---|---|---|---|")
    base = found[against][0]
    for method, runs in found.items():
        cells = []
        for metric in ("NDCG@10", "recall@50"):
            ours = [r[metric] for r in runs]
            drawn = resampled([base[metric], *ours], np.arange(world.users), RESAMPLES, 1)
            mean = drawn[:, 1:].mean(1)
            own, less = interval(mean), interval(mean - drawn[:, 0])
            value = float(np.mean([m.value() for m in ours]))
            cells.append(f"{value:.4f} [{own[0]:.4f}, {own[1]:.4f}]" if own else f"{value:.4f}")
            cells.append(f"{value - base[metric].value():+.4f} [{less[0]:+.4f}, {less[1]:+.4f}]" if less else "")
            if metric == "NDCG@10":
                cells.append(f"{np.std([m.value() for m in ours], ddof=1):.4f}" if len(ours) > 1 else "")
        say(f"| {method} | {' | '.join(cells)} |")


def values(found: dict[str, Measure]) -> str:
    return " / ".join(f"{m.value():.4f}" for m in found.values())


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
