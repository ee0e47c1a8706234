"""The pair model: one encoder reads a user's behaviour text and an item's text together and says how probable the item is.

Letters: b pairs, s tokens, d entries of the encoder's vector, F features of a pair.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from equipoise.errors import ModelError
from equipoise.models.encoder import Pooling, TextEncoder, load_backbone, load_tokenizer, pooling_of
from equipoise.models.heads import VECTOR_GAIN, signed_log1p
from equipoise.models.methods import BESIDE, Method, plain, prepared
from equipoise.models.package import ENCODER, HEADS, MANIFEST, META, check_finite, checksums, verify

RIDGE = 1e-4
"""L2 weight per row mean of the feature logit, as in `statistics`."""

NEWTON_STEPS, NEWTON_DONE = 50, 1e-8


class PairHead(nn.Module):
    """Logit of a pair: a logit on its standardised features + a linear reading of the vector, which starts at 0.

    NaN among the features counts as their mean.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.gain = VECTOR_GAIN * math.sqrt(width)
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.base = nn.Linear(features, 1)
        self.base.requires_grad_(False)
        self.out = nn.Linear(width, 1, bias=False)
        for parameter in (self.base.weight, self.base.bias, self.out.weight):
            nn.init.zeros_(parameter)

    def counted(self, features: Tensor) -> Tensor:
        """(b,) logit of features (b, F) in raw units, without the text."""
        told = torch.nan_to_num((signed_log1p(features.float()) - self.feature_mean) / self.feature_std)
        return self.base(told).squeeze(-1)  # type: ignore[no-any-return]

    def forward(self, vector: Tensor, features: Tensor) -> Tensor:
        logit: Tensor = self.counted(features) + self.out(vector.float() * self.gain).squeeze(-1)
        return logit


class PairModel(nn.Module):
    """Tokens of user and item text in one row, and features of the pair → logit of a click or purchase."""

    def __init__(self, encoder: TextEncoder, heads: PairHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads
        self.segmented = int(getattr(cast(Any, encoder.backbone).config, "type_vocab_size", 0) or 0) > 1

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor, features: Tensor) -> Tensor:
        """tokens, mask, segments (b, s) of `PairTexts.batch`, features (b, F) → logits (b,)."""
        logit: Tensor = self.heads(self.encoder(tokens, mask, segments if self.segmented else None), features)
        return logit

    def trainable(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What training changes: the encoder's part and the reading of its vector, by name."""
        return ((name, p) for name, p in self.named_parameters() if p.requires_grad)


@dataclass(frozen=True)
class PairMeta:
    """What a saved pair model is: max_tokens of a pair, names of its features in order, and what it was taught and scored."""

    max_tokens: int
    feature_names: list[str]
    pooling: Pooling
    metrics: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class LoadedPair(NamedTuple):
    """A saved pair model, ready to score."""

    model: PairModel
    tokenizer: Any
    meta: PairMeta


def build_pair(encoder_path: str, *, features: int, method: Method, seed: int) -> PairModel:
    """An untrained model: it says 0 for every pair until `fit_base`, and what the features say until the text is trained.

    The same arguments give the same weights; torch's global generator is left as it was.

    Raises:
        ModelError: when the encoder directory is incomplete, or the method's additions cannot be merged into the encoder.
    """
    if method.method in BESIDE:
        raise ModelError(f"method {method.method!r} stays beside the encoder; expected one that merges, such as 'lora' or 'full'")
    backbone = load_backbone(encoder_path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = TextEncoder(prepared(backbone, method), pooling_of(encoder_path))
    return PairModel(encoder, PairHead(encoder.width, features))


def fit_base(heads: PairHead, features: NDArray[np.float32], labels: NDArray[np.bool_]) -> None:
    """Scaling of the features, and the logit on them by maximum likelihood (Newton's method); the text's part stays as it is.

    Without features the logit is the share of positive rows.

    Args:
        features: (n, F) in raw units, NaN where there is no value.
    """
    x = torch.from_numpy(np.asarray(features, np.float64))
    x, known = signed_log1p(x), ~x.isnan()
    counts = known.sum(0).clamp(min=1)
    mean = torch.where(known, x, 0.0).sum(0) / counts
    std = (torch.where(known, x - mean, 0.0).square().sum(0) / counts).sqrt()
    std = torch.where(std > 1e-6, std, torch.ones_like(std))  # a feature that is always the same
    rows = torch.cat([torch.nan_to_num((x - mean) / std), torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    found = _logit(rows, torch.from_numpy(np.asarray(labels, np.float64)))
    with torch.no_grad():
        heads.feature_mean.copy_(mean)
        heads.feature_std.copy_(std)
        heads.base.weight.copy_(found[None, :-1])
        heads.base.bias.copy_(found[-1:])


def _logit(x: Tensor, y: Tensor) -> Tensor:
    """(F + 1,) weights of a ridge logit; the last column of x is ones, whose weight is hardly pulled."""
    pull = torch.full((x.shape[1],), RIDGE, dtype=x.dtype)
    pull[-1] = 1e-9  # labels of one class only have no finite fit
    weights = torch.zeros(x.shape[1], dtype=x.dtype)
    weights[-1] = torch.logit(y.mean().clamp(1e-6, 1 - 1e-6))
    for _ in range(NEWTON_STEPS):
        p = (x @ weights).sigmoid()
        slope = x.T @ (p - y) / len(y) + pull * weights
        curve = (x * (p * (1 - p))[:, None]).T @ x / len(y) + torch.diag(pull)
        step = torch.linalg.solve(curve, slope)
        weights = weights - step / max(1.0, float(step.abs().max()))  # at most 1 in any entry: no step flies off
        if float(step.abs().max()) < NEWTON_DONE:
            break
    return weights


def save_pair(folder: Path, model: PairModel, *, tokenizer_path: str, meta: PairMeta) -> None:
    """Writes encoder (low-rank additions merged), tokenizer, head and meta into an empty or absent folder; checksums last.

    Raises:
        ModelError: when a weight is NaN or infinite, or the folder holds something; nothing is written then.
    """
    check_finite(model)
    if folder.exists() and any(folder.iterdir()):
        raise ModelError(f"{str(folder)!r} is not empty; a model is written whole into a new folder; delete it and run again")
    (folder / ENCODER).mkdir(parents=True)
    cast(Any, plain(model.encoder.backbone)).save_pretrained(folder / ENCODER)
    load_tokenizer(tokenizer_path).save_pretrained(folder / ENCODER)
    save_file({n: t.detach().cpu().contiguous() for n, t in model.heads.state_dict().items()}, folder / HEADS)
    (folder / META).write_text(json.dumps(asdict(meta), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    sums = json.dumps({"sha256": checksums(folder)}, indent=2, sort_keys=True)
    (folder / MANIFEST).write_text(sums + "\n", encoding="utf-8")


def load_pair(path: str | Path) -> LoadedPair:
    """The model saved at `path`, in evaluation mode, once every file is what it was.

    Raises:
        ModelError: a file is missing, changed or new, or the parts do not fit together.
    """
    folder = Path(path)
    verify(folder)
    try:
        meta = PairMeta(**json.loads((folder / META).read_text(encoding="utf-8")))
        state = load_file(folder / HEADS)
        heads = PairHead(state["out.weight"].shape[1], len(meta.feature_names))
        heads.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{str(folder)!r} does not hold a pair model: {error}; train it again") from error
    encoder = TextEncoder(load_backbone(folder / ENCODER), meta.pooling)
    model = PairModel(encoder, heads).requires_grad_(False).eval()
    return LoadedPair(model, load_tokenizer(folder / ENCODER), meta)
