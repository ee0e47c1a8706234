"""What strong pair features say of a user × category: a small network over decayed visits, rhythm, trends and neighbours.

Letters: b users, C categories, K values of a cell, T of a trend, F explicit features, P inputs of a pair, h hidden units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from equipoise.models import follow
from equipoise.tables.packing import CELL_VALUES, HALF_LIVES, TREND_VALUES

HIDDEN = 64
EMBEDDING_STD = 0.05
NEVER_DAYS = 400.0
"""Days since a visit where there was none, and the most that counts."""

MOST_GAPS = 50.0
RECENT_DAYS = 112.0
DECAYED_TOP = 2.0
"""Log of decayed visits at which a neighbour counts in full."""

SCALES = (1e-4, 1e-3)
"""Added before the logs of shares and of their quotients: one user in ten thousand, in a thousand."""

PAIR_INPUTS = (*CELL_VALUES, "share", "gap", "recency_over_gap", "never", *TREND_VALUES, "near_decayed", "near_recent", "follows")
"""The P inputs, in order. share: log lines over the user's mean; near_*: what the user's other categories say of this one;
follows: log of the share that usually comes after all of them, over today's."""

_AT = {name: i for i, name in enumerate(CELL_VALUES)}
_LONG = f"visits_{HALF_LIVES[-2]}d"


class PairNet(nn.Module):
    """Per user and category two numbers: what to add to the log share, and the logit of a visit in the window.

    A perceptron shared by all categories, with an embedding each; starts as zero shares and as the visit rates that `fit_pairs`
    puts into its bias. near_*: decayed visits, and yes or no in the last 112 days, times the item-item weights of EASE (Steck
    2019, eq. 8) that `fit_pairs` solves for. follows: `follow.followed` with the weights that it solves for, too.
    """

    mean: Tensor
    std: Tensor
    near_decayed: Tensor
    near_recent: Tensor
    follow: Tensor
    mass: Tensor

    def __init__(self, categories: int, features: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        inputs = len(PAIR_INPUTS)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("std", torch.ones(inputs))
        self.register_buffer("near_decayed", torch.zeros(categories, categories))
        self.register_buffer("near_recent", torch.zeros(categories, categories))
        self.register_buffer("follow", torch.zeros(categories, categories))
        self.register_buffer("mass", torch.ones(()))
        self.of_pair = nn.Linear(inputs, hidden)
        self.of_user = nn.Linear(features, hidden, bias=False)
        self.of_category = nn.Parameter(torch.empty(categories, hidden))
        self.deeper = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, 2)
        self.linear = nn.Linear(inputs, 2, bias=False)
        self.bias = nn.Parameter(torch.zeros(categories, 2))
        self.reset()

    def reset(self) -> None:
        """Fresh weights from torch's generator; what reads the hidden units starts at 0."""
        for layer in (self.of_pair, self.of_user, self.deeper):
            layer.reset_parameters()
        nn.init.normal_(self.of_category, std=EMBEDDING_STD)
        for weight in (self.out.weight, self.out.bias, self.linear.weight, self.bias):
            nn.init.zeros_(weight)

    def today(self, cells: Tensor, trends: Tensor) -> Tensor:
        """cells (b, C, K), trends (b, C, T) → today's shares (b, C), from which `follow` tells the next."""
        return follow.today(cells[..., _AT["lines"]], trends[..., TREND_VALUES.index("visitors_share")], self.mass)

    def inputs(self, cells: Tensor, trends: Tensor, follows: Tensor | None = None) -> Tensor:
        """cells (b, C, K), trends (b, C, T) → (b, C, P), before they are standardised; follows (b, C): in place of its own."""
        follows = follow.followed(self.today(cells, trends), self.follow) if follows is None else follows
        days, recency, first = (cells[..., _AT[name]] for name in ("days", "recency_days", "first_days"))
        never = (days == 0).to(cells.dtype)
        gap = torch.where(days > 1, (first - recency).clamp(min=0.0) / (days - 1).clamp(min=1.0), NEVER_DAYS)
        recency = torch.where(days > 0, recency.clamp(max=NEVER_DAYS), NEVER_DAYS)
        logs = cells.log1p()
        lines = logs[..., _AT["lines"]]
        popular, before, entered = trends.unbind(dim=-1)
        near = self.neighbours(cells)
        derived = [
            lines - lines.mean(dim=-1, keepdim=True),
            gap.log1p(),
            (recency / gap.clamp(min=1.0)).clamp(max=MOST_GAPS).log1p(),
            never,
            (popular + SCALES[0]).log(),
            ((popular + SCALES[1]) / (before + SCALES[1])).log(),
            (entered + SCALES[0]).log(),
            near[0] @ self.near_decayed,
            near[1] @ self.near_recent,
            follows,
        ]
        logs[..., _AT["recency_days"]] = recency.log1p()
        return torch.cat([logs, torch.stack(derived, dim=-1)], dim=-1)

    @staticmethod
    def neighbours(cells: Tensor) -> tuple[Tensor, Tensor]:
        """What EASE is solved on, both (b, C): log of decayed visits, at most DECAYED_TOP, and 1 where visited in RECENT_DAYS."""
        decayed = cells[..., _AT[_LONG]].log1p().clamp(max=DECAYED_TOP)
        recent = (cells[..., _AT["days"]] > 0) & (cells[..., _AT["recency_days"]] <= RECENT_DAYS)
        return decayed, recent.to(cells.dtype)

    def forward(self, cells: Tensor, trends: Tensor, standardised: Tensor, follows: Tensor | None = None) -> Tensor:
        """cells (b, C, K), trends (b, C, T), standardised explicit features (b, F) → (b, C, 2): added log share, visit logit."""
        x = (self.inputs(cells, trends, follows) - self.mean) / self.std
        first = self.of_pair(x) + self.of_user(standardised).unsqueeze(1) + self.of_category
        hidden = nn.functional.gelu(first)
        hidden = hidden + nn.functional.gelu(self.deeper(hidden))
        out: Tensor = self.out(hidden) + self.linear(x) + self.bias
        return out
