"""The pair model on a GPU: the CPU's scores, and a planted word learnt in bfloat16."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from equipoise.models.cross import build_pair
from equipoise.models.methods import Method
from equipoise.training.cross import PairTraining, train_pair
from tests.unit.models import tiny
from tests.unit.training.test_cross import FULL, logits, rows, shaken, texts

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none here"),
]


@pytest.mark.parametrize("method", [FULL, Method(lora_rank=2, lora_alpha=4.0)])
def test_scores_on_the_gpu_are_those_of_the_cpu(tmp_path: Path, method: Method) -> None:
    net, of = shaken(tiny.directory(tmp_path), method), rows(200, 2)
    here = logits(net, of)
    np.testing.assert_allclose(logits(net.to("cuda"), of), here, atol=5e-4)


def test_a_planted_word_is_learnt_in_bfloat16(tmp_path: Path) -> None:
    how = PairTraining(FULL, learning_rate=2e-3, head_learning_rate=2e-2, passes=6, batch_pairs=64, seed=3)
    net = build_pair(tiny.directory(tmp_path), features=3, method=FULL, seed=1).to("cuda")
    net.encoder.autocast = torch.bfloat16
    told = train_pair(net, texts(), rows(1500, 5), rows(500, 7), how)
    assert told.loss < told.base_loss - 0.05
