"""How to train, as plain values; every field is a setting of the same name."""

from __future__ import annotations

from dataclasses import dataclass

from equipoise.models.losses import ValueLoss
from equipoise.training.adversarial import Attack, Kind
from equipoise.training.optimiser import Algorithm, Schedule
from equipoise.training.weighting import Weighting


@dataclass(frozen=True)
class Options:
    """Of one training."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float
    weight_decay: float
    warmup_share: float
    clip_norm: float
    category_weight: float
    visit_weight: float
    value_weight: float
    next_item_weight: float
    behaviour_weight: float
    evaluations_per_epoch: int
    patience: int
    checkpoint_every: int
    max_seconds: float
    max_steps: int
    balance_weight: float = 0.0
    sequence_behaviour_weight: float = 0.0
    weighting: Weighting = "fixed"
    optimiser: Algorithm = "adamw"
    momentum: float = 0.9
    schedule: Schedule = "linear"
    micro_batch: int = 0
    label_smoothing: float = 0.0
    value_loss: ValueLoss = "cross_entropy"
    ema_decay: float = 0.0
    adversarial: Kind = "none"
    adversarial_epsilon: float = 0.02
    adversarial_steps: int = 3
    adversarial_weight: float = 1.0
    attack_report: bool = False
    compile: bool = False
    activation_checkpointing: bool = False

    @property
    def attack(self) -> Attack:
        """What a training with `adversarial` trains against."""
        return Attack(self.adversarial, self.adversarial_epsilon, self.adversarial_steps)
