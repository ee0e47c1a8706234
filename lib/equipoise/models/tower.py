"""The tower route: vectors of the items that a user touched, in order, with event types and times → the same heads.

Each distinct item text is encoded once for everybody; a user then costs a small sequence model instead of a language model.
Letters: b users, e events, d entries of an item vector, w width of the tower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.encoder import TextEncoder
from equipoise.models.heads import Heads, Outputs, SequenceSums, WholeSums
from equipoise.models.items import ItemTable
from equipoise.tables.vocabulary import BEHAVIOURS, EVENT_TYPES

Kind = Literal["attention", "gru", "lstm"]

TIME_BUCKETS = 12
"""Days between events as ⌊log2(1 + days)⌋: 0, 1–2, 3–6, … , four years and more."""

MEAN_HALF_LIFE_DAYS = 56.0
"""Of the running mean of item vectors that the tower corrects."""

MOST_DAYS = 3650.0
LEAST = 1e-300
START = 1e-3
"""Entries of the vector of a user without events, before it is made one of length 1."""

FIRST_SCALE = 10.0
"""Cosines times this are the logits of the next item, before training."""


@dataclass(frozen=True)
class TowerOptions:
    """How a tower is built; every field is a setting of the same name, but for those that follow from others. events: the most
    that are read of a user. kinds: whether it learns of what kind a sequence goes on."""

    kind: Kind
    width: int
    layers: int
    attention_heads: int
    dropout: float
    events: int
    kinds: bool = False


class Sequences(NamedTuple):
    """queries (b, e, d), unit length: what follows each event; states (b, e, w); vectors (b, e, d) of the items; known (b, e)."""

    queries: Tensor
    states: Tensor
    vectors: Tensor
    known: Tensor


class Tower(nn.Module):
    """Events in order → after each of them, where the user's taste points among the items.

    query_t = unit(running mean of the item vectors up to t + W·state_t): W starts at 0, so that an untrained tower says the
    decayed mean of the history. States see no later event, only how long until it: with the last one, until the cut.
    """

    behaviour_of: Tensor

    def __init__(self, item_width: int, options: TowerOptions) -> None:
        super().__init__()
        width = options.width
        self.options = options
        self.of_item = nn.Linear(item_width, width, bias=False)
        self.of_type = nn.Embedding(len(EVENT_TYPES) + 1, width)
        self.of_gap = nn.Embedding(TIME_BUCKETS, width)
        self.of_wait = nn.Embedding(TIME_BUCKETS, width)
        self.of_place = nn.Embedding(options.events, width)
        for embedding in (self.of_type, self.of_gap, self.of_wait, self.of_place):
            nn.init.normal_(embedding.weight, std=width**-0.5)
        self.dropout = nn.Dropout(options.dropout)
        self.body = _body(options)
        self.out = nn.Linear(width, item_width)
        self.behaviour = nn.Linear(width + item_width, len(BEHAVIOURS))
        for layer in (self.out, self.behaviour):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.start = nn.Parameter(torch.full((item_width,), START))
        self.log_scale = nn.Parameter(torch.tensor(FIRST_SCALE).log())
        self.kind = nn.Linear(width, len(BEHAVIOURS)) if options.kinds else None
        if self.kind is not None:
            nn.init.zeros_(self.kind.weight)
            nn.init.zeros_(self.kind.bias)
        self.register_buffer("behaviour_of", torch.tensor(behaviour_codes()), persistent=False)

    def forward(self, vectors: Tensor, types: Tensor, ages: Tensor) -> Sequences:
        """vectors (b, e, d), types (b, e) from 1 and 0 for padding behind the events, ages (b, e) in days before the cut.

        Raises:
            ModelError: more events than the tower has places for.
        """
        states, weight = self._states(vectors, types, ages), _weights(types, ages).unsqueeze(-1)
        mean = ((weight * vectors).cumsum(dim=1) / weight.cumsum(dim=1).clamp(min=LEAST)).float()
        return Sequences(self._queries(mean, states), states, vectors, types > 0)

    def user_vectors(self, vectors: Tensor, types: Tensor, ages: Tensor) -> Tensor:
        """(b, d): the query after the last event, and no other; of a user without one, where everybody starts."""
        states, weight, known = self._states(vectors, types, ages), _weights(types, ages), types > 0
        share = (weight / weight.sum(dim=1, keepdim=True).clamp(min=LEAST)).to(vectors.dtype)
        mean = torch.bmm(share.unsqueeze(1), vectors).squeeze(1)
        return self._started(self._queries(mean, _last(states, known)), known)

    def last(self, found: Sequences) -> Tensor:
        """The same (b, d) of what `forward` found."""
        return self._started(_last(found.queries, found.known), found.known)

    def _started(self, last: Tensor, known: Tensor) -> Tensor:
        return torch.where(known.any(dim=1, keepdim=True), last, nn.functional.normalize(self.start, dim=0))

    def _queries(self, mean: Tensor, states: Tensor) -> Tensor:
        return nn.functional.normalize(mean + self.out(states) + self.start, dim=-1)

    def _states(self, vectors: Tensor, types: Tensor, ages: Tensor) -> Tensor:
        """(b, e, w), none of which sees a later event."""
        if types.shape[1] > self.options.events:
            raise ModelError(f"{types.shape[1]} events, expected at most {self.options.events}, the latest; cut them before")
        ages = ages.clamp(0.0, MOST_DAYS)
        before = torch.cat([ages[:, :1], ages[:, :-1]], dim=1) - ages
        after = ages - torch.cat([ages[:, 1:], torch.zeros_like(ages[:, :1])], dim=1)
        place = torch.arange(types.shape[1], device=types.device)
        x = self.of_item(vectors) + self.of_type(types) + self.of_place(place)
        x = x + self.of_gap(_bucket(before)) + self.of_wait(_bucket(after))
        x = self.dropout(x)
        if self.options.kind != "attention":
            return cast(Tensor, self.body(x)[0])
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        return cast(Tensor, self.body(x, mask=later))

    def sums(self, found: Sequences, items: Tensor, types: Tensor, table: ItemTable) -> SequenceSums:
        """Losses of what follows each event but the last: which item it is, and whether it is bought, looked at or reviewed.

        next item: softmax over the distinct next items of the batch by cosine, each logit less the log of its share among them
        (logQ correction, Yi et al. 2019), so that popular items are not pushed away for being sampled more often.
        """
        follows = found.known[:, 1:]
        targets, codes = items[:, 1:], self.behaviour_of[types[:, 1:]]
        counted = follows & table.known(targets)
        once, place, number = torch.unique(targets[counted], return_inverse=True, return_counts=True)
        logits = found.queries[:, :-1][counted] @ table(once).T * self.log_scale.exp()
        logits = logits - (number / number.sum().clamp(min=1)).log()
        next_item = nn.functional.cross_entropy(logits, place, reduction="sum") if len(once) else logits.sum()
        seen = follows & (codes >= 0)
        joined = torch.cat([found.states[:, :-1], found.vectors[:, 1:]], dim=-1)[seen]
        answers = self.behaviour(joined)
        behaviour = nn.functional.cross_entropy(answers, codes[seen], reduction="sum") if len(joined) else answers.sum()
        classes = len(BEHAVIOURS)
        pairs = codes[seen] * classes + answers.detach().argmax(dim=-1)
        return SequenceSums(
            next_item,
            counted.sum().to(next_item.dtype),
            behaviour,
            seen.sum().to(behaviour.dtype),
            torch.bincount(pairs, minlength=classes * classes).view(classes, classes),
            self._whole(found, types),
        )

    def _whole(self, found: Sequences, types: Tensor) -> WholeSums | None:
        """Losses of the kind of most of a sequence's second half, told from the state at the end of its first."""
        if self.kind is None:
            return None
        place, label = sequence_kinds(types, self.behaviour_of)
        known = label >= 0
        answers = self.kind(found.states[torch.arange(len(place), device=place.device), place][known])
        loss = nn.functional.cross_entropy(answers, label[known], reduction="sum") if bool(known.any()) else answers.sum()
        classes = len(BEHAVIOURS)
        pairs = label[known] * classes + answers.detach().argmax(dim=-1)
        counted = torch.bincount(pairs, minlength=classes * classes).view(classes, classes)
        return WholeSums(loss, known.sum().to(loss.dtype), counted)


class TowerModel(nn.Module):
    """Events, decayed category weights, pair features and explicit features of a user → vector, next categories, value class."""

    inputs: tuple[str, ...] = ("items", "types", "ages", "prior", "cells", "trends", "features")

    def __init__(self, encoder: TextEncoder, tower: Tower, heads: Heads) -> None:
        """The encoder makes the vectors of items; training leaves it alone."""
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self.tower = tower
        self.heads = heads
        self._table: ItemTable | None = None

    def look_up(self, table: ItemTable) -> None:
        """Vectors of the items that users' events name, made by this model's encoder.

        Raises:
            ModelError: when they are of another width.
        """
        if table.width != self.encoder.width:
            raise ModelError(
                f"item vectors of width {table.width}, expected the encoder's {self.encoder.width}; encode them again"
            )
        self._table = table.to(next(self.tower.parameters()).device)

    @property
    def table(self) -> ItemTable:
        """Raises ModelError before `look_up`."""
        if self._table is None:
            raise ModelError("the tower has no item vectors; give it those of the items in the users' events")
        return self._table

    def forward(
        self, items: Tensor, types: Tensor, ages: Tensor, prior: Tensor, cells: Tensor, trends: Tensor, features: Tensor
    ) -> Outputs:
        """items (b, e) int64 keys, types (b, e) int64, ages (b, e) days; the others as `Heads.forward` takes them."""
        found = self.tower(self.table(items), types, ages)
        outputs: Outputs = self.heads(self.tower.last(found), prior, cells, trends, features)
        return outputs._replace(sequence=self.tower.sums(found, items, types, self.table))

    def user_vectors(self, items: Tensor, types: Tensor, ages: Tensor) -> Tensor:
        """(b, d), unit length."""
        vectors: Tensor = self.tower.user_vectors(self.table(items), types, ages)
        return vectors

    def encode(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Unit vectors (b, d) of texts."""
        vectors: Tensor = self.encoder(tokens, mask)
        return vectors

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What training changes: tower and heads, by name."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)


def behaviour_codes() -> list[int]:
    """Place in BEHAVIOURS of every event type, from 1 as `tables.packing.type_codes` counts; -1 for one that is in none."""
    places = {t: i for i, types in enumerate(BEHAVIOURS.values()) for t in types}
    return [-1, *(places.get(t, -1) for t in EVENT_TYPES)]


def sequence_kinds(types: Tensor, behaviour_of: Tensor) -> tuple[Tensor, Tensor]:
    """Of each sequence the place of the last event of its first half, and the kind of most events behind it, (b,) int64 each.

    types (b, e), 0 for padding. The first half is the larger one. The kind is a place in BEHAVIOURS; of kinds with equally many
    events the first there, so buy before look. −1: fewer than two events, or none behind the half is of any kind.
    """
    number = (types > 0).sum(dim=1)
    place = ((number + 1) // 2 - 1).clamp(min=0)
    behind = (torch.arange(types.shape[1], device=types.device) > place[:, None]) & (types > 0)
    codes = torch.where(behind, behaviour_of[types], -1)
    counts = torch.stack([(codes == kind).sum(dim=1) for kind in range(len(BEHAVIOURS))], dim=1)
    kinds = torch.arange(len(BEHAVIOURS), device=types.device)
    return place, torch.where(counts.sum(dim=1) > 0, (len(BEHAVIOURS) * counts - kinds).argmax(dim=1), -1)


def _last(values: Tensor, known: Tensor) -> Tensor:
    """Those of the last event of each row, (b, …); of a row without one, those of its padding."""
    place = (known.sum(dim=1) - 1).clamp(min=0)
    return values[torch.arange(len(place), device=place.device), place]


def _weights(types: Tensor, ages: Tensor) -> Tensor:
    """(b, e) in double precision: decayed by age, 0 where there is no event."""
    return torch.where(types > 0, 0.5 ** (ages.clamp(0.0, MOST_DAYS).double() / MEAN_HALF_LIFE_DAYS), 0.0)


def _bucket(days: Tensor) -> Tensor:
    return (1.0 + days.clamp(min=0.0)).log2().long().clamp(max=TIME_BUCKETS - 1)


def _body(options: TowerOptions) -> Any:
    dropout = options.dropout if options.layers > 1 else 0.0
    if options.kind == "gru":
        return nn.GRU(options.width, options.width, options.layers, batch_first=True, dropout=dropout)
    if options.kind == "lstm":
        return nn.LSTM(options.width, options.width, options.layers, batch_first=True, dropout=dropout)
    layer = nn.TransformerEncoderLayer(
        options.width, options.attention_heads, 4 * options.width, options.dropout, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, options.layers, nn.LayerNorm(options.width), enable_nested_tensor=False)
