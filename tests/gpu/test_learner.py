"""What only a GPU can show; needs torch, transformers and peft, but neither Spark nor Petastorm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from equipoise.errors import OutOfMemory
from equipoise.models import BehaviourModel, load_package, save_package
from equipoise.models.methods import LEARNING_RATES, Method, Way
from equipoise.training.ranks import alone, joined
from tests.unit.models import tiny
from tests.unit.models.test_package import META
from tests.unit.training import made

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none here"),
]


@pytest.fixture(scope="module")
def encoder_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.directory(tmp_path_factory.mktemp("encoder"))


def on(rows: dict[str, torch.Tensor], device: str) -> dict[str, torch.Tensor]:
    return {name: tensor.to(device) for name, tensor in rows.items()}


def shaken(encoder_path: str) -> BehaviourModel:
    """A model whose adapters and heads say something."""
    net = tiny.model(encoder_path).eval()
    with torch.no_grad():
        draw = torch.Generator().manual_seed(4)
        for _, parameter in net.trainable():
            parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.2)
    return net


def test_forward_on_the_gpu_equals_the_cpu(encoder_path: str) -> None:
    rows = tiny.batch(64)
    net = shaken(encoder_path)
    here = tiny.predict(net, rows)
    there = tiny.predict(net.to("cuda"), on(rows, "cuda"))
    for cpu, gpu in zip(here, there, strict=True):
        if cpu is None:  # what the text route does not say
            assert gpu is None
            continue
        torch.testing.assert_close(gpu.cpu(), cpu, atol=2e-4, rtol=2e-3)


def test_bfloat16_is_near_and_leaves_the_heads_in_float32(encoder_path: str) -> None:
    rows = on(tiny.batch(64), "cuda")
    net = shaken(encoder_path).to("cuda")
    full = tiny.predict(net, rows)
    net.encoder.autocast = torch.bfloat16
    half = tiny.predict(net, rows)
    assert half.category_logits.dtype == half.value_logits.dtype == half.vector.dtype == torch.float32
    assert float((full.vector * half.vector).sum(dim=1).min()) > 0.99
    torch.testing.assert_close(half.category_logits.softmax(1), full.category_logits.softmax(1), atol=0.05, rtol=0.0)
    assert not torch.equal(half.vector, full.vector)


def test_a_training_on_one_gpu_rank_with_nccl(encoder_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "RANK": "0",
        "WORLD_SIZE": "1",
        "LOCAL_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29571",
    }.items():
        monkeypatch.setenv(name, value)
    with joined("cuda", threads=1) as ranks:
        assert ranks.device.type == "cuda"
        torch.distributed.init_process_group("nccl", device_id=ranks.device)
        try:
            training = made.training(encoder_path, ranks=ranks, epochs=4)
            training._net = torch.nn.parallel.DistributedDataParallel(
                training._model, device_ids=[ranks.device], broadcast_buffers=False
            )
            done = training.run()
        finally:
            torch.distributed.destroy_process_group()
    assert done.metrics["best_loss"] < done.metrics["start_loss"]
    on_cpu = made.training(encoder_path, ranks=alone(), epochs=4).run()
    assert abs(done.metrics["start_loss"] - on_cpu.metrics["start_loss"]) < 1e-3


def test_a_package_loads_onto_the_gpu(encoder_path: str, tmp_path: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    net = shaken(encoder_path)
    save_package(tmp_path / "package", net, tokenizer_path=encoder_path, meta=META, card="")
    loaded = load_package(tmp_path / "package", device="cuda")
    assert {p.device.type for p in loaded.model.parameters()} == {"cuda"}
    rows = tiny.batch(8)
    here, there = tiny.predict(net, rows), tiny.predict(loaded.model, on(rows, "cuda"))
    torch.testing.assert_close(there.category_logits.cpu(), here.category_logits, atol=2e-4, rtol=2e-3)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_precision_trains_on_tensor_cores(encoder_path: str, half: torch.dtype) -> None:
    full = made.training(encoder_path, ranks=alone("cuda"), epochs=4).run().metrics
    low = made.training(encoder_path, ranks=alone("cuda"), epochs=4, half=half).run().metrics
    assert low["best_loss"] < low["start_loss"]
    assert low["best_loss"] == pytest.approx(full["best_loss"], rel=0.05)


@pytest.mark.parametrize("way", [w for w in LEARNING_RATES if w != "frozen"])
def test_every_way_learns_on_the_gpu(encoder_path: str, way: Way) -> None:
    method = Method(way, last_layers=1, lora_rank=2, bottleneck_width=4, virtual_tokens=2, total_steps=24)
    figures = made.training(encoder_path, ranks=alone("cuda"), epochs=4, method=method).run().metrics
    assert figures["best_loss"] < figures["start_loss"]


def test_a_compiled_training_is_near_the_plain_one(encoder_path: str) -> None:
    plain, compiled = (made.training(encoder_path, ranks=alone("cuda"), compile=on).run().metrics for on in (False, True))
    assert compiled["best_loss"] == pytest.approx(plain["best_loss"], rel=0.02)


def test_a_batch_that_does_not_fit_says_so(encoder_path: str) -> None:
    """The device's memory is capped to a sliver above what is held."""
    training = made.training(encoder_path, ranks=alone("cuda"))
    batch = {n: t.repeat(8192, *[1] * (t.ndim - 1)) for n, t in made.learnable(8, 1).items()}
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 64 * 2**20) / total)
    try:
        with pytest.raises(OutOfMemory, match=r"lower training.micro_batch"):
            training._step(batch, 0, "batch 0")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def sharded_rank(rank: int, world_size: int, port: int, encoder_path: str, into: str) -> None:
    """One of several GPUs: full fine-tuning with FSDP."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    with joined("cuda", threads=1) as ranks:
        done = made.training(encoder_path, ranks=ranks, epochs=2, method=Method("full"), spread=True).run()
        torch.save(done.metrics, f"{into}/rank-{rank}.pt")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices; FSDP on gloo is in tests/unit/training")
def test_weights_spread_over_gpus_train(encoder_path: str, tmp_path: Path) -> None:
    args = (2, 29583, encoder_path, str(tmp_path))
    torch.multiprocessing.start_processes(sharded_rank, args=args, nprocs=2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"rank-{r}.pt") for r in range(2))
    assert first["best_loss"] == second["best_loss"] < first["start_loss"]
