"""What usually follows today's shares: a ridge regression of the next window's shares on them, categories × categories.

Letters: b users, C categories.
"""

from __future__ import annotations

import torch
from torch import Tensor

RIDGE = 0.0035
"""Penalty per weighted window: 50 on the 16,000 windows that it was chosen on."""

LEAST = 0.2
"""What follows is at least this part of today's share: a linear answer may be negative."""

HALVES = 2


def today(lines: Tensor, visitors: Tensor, mass: Tensor) -> Tensor:
    """Decayed lines (b, C) and the share of users who visited in the last window (b, C) → shares (b, C): lines + `mass` ·
    the visitors' shares, over their sum, all positive."""
    popular = visitors / visitors.sum(dim=-1, keepdim=True).clamp(min=1e-9)
    smoothed = lines + mass * popular + 1e-4
    return smoothed / smoothed.sum(dim=-1, keepdim=True)


def followed(shares: Tensor, weights: Tensor) -> Tensor:
    """Log of what `weights` (C, C) make of today's shares (b, C), over these: (b, C), 0 where the weights are 0."""
    root = shares.sqrt()
    return (1.0 + (root @ weights) / root).clamp(min=LEAST).log()


def half(user_id: Tensor) -> Tensor:
    """user_id (b, 16) bytes → 0 or 1, (b,): all rows of a user are in one half."""
    return (user_id[:, -1] & 1).long()


class Sums:
    """Weighted sums of each half of the users, from which the weights are solved.

    Of a user with today's shares s and next window's shares y the regression is (y − s) / √s on √s: Pearson's residual, so that a
    large category does not outweigh all small ones.
    """

    def __init__(self, categories: int, device: torch.device | str = "cpu") -> None:
        self.gram = torch.zeros(HALVES, categories, categories, dtype=torch.float64, device=device)
        self.cross = torch.zeros_like(self.gram)
        self.weight = torch.zeros(HALVES, dtype=torch.float64, device=device)

    def add(self, shares: Tensor, following: Tensor, weights: Tensor, halves: Tensor) -> None:
        """shares of today and of the label window (b, C); weights (b,) of the windows; halves (b,)."""
        root = shares.sqrt()
        residual = (following - shares) / root
        for which in range(HALVES):
            mine = (weights * (halves == which)).unsqueeze(-1)
            self.gram[which] += ((root * mine).T @ root).double()
            self.cross[which] += ((root * mine).T @ residual).double()
            self.weight[which] += mine.sum().double()

    def solved(self) -> Tensor:
        """(C, C) of all users; 0 without any."""
        return _solve(self.gram.sum(dim=0), self.cross.sum(dim=0), float(self.weight.sum()))

    def crossed(self) -> Tensor:
        """(2, C, C): for the users of a half what the other half tells, so that nobody's own labels are in the answer."""
        return torch.stack([_solve(self.gram[o], self.cross[o], float(self.weight[o])) for o in reversed(range(HALVES))])


def _solve(gram: Tensor, cross: Tensor, weight: float) -> Tensor:
    if not weight:
        return torch.zeros_like(gram).float()
    ridge = RIDGE * weight * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weights: Tensor = torch.linalg.solve(gram + ridge, cross).float()
    return weights
