"""Whole-base inference: what the Arrow path costs beside bare forward passes, what it gains on the usual way, and its memory.

bare: forward passes on ready tensors, with texts tokenised, sorted by length and cut into batches before the clock starts; for
users also the heads on ready tensors. Ours: Arrow batches in, Arrow batches out, everything between inside. The usual way:
Spark's predict_batch_udf on rows as they come, texts padded to the longest allowed, repeated texts encoded again. In turns, in
one run.

python -m tests.benchmarks.inference [--texts 4000] [--users 1500] [--repeats 5]
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from equipoise.inference.batching import pad, plan_batches
from equipoise.inference.hardware import use_bfloat16
from equipoise.inference.predictor import Predictor
from equipoise.inference.progress import Progress
from equipoise.inference.udf import encode_texts
from equipoise.inference.worker import Setup, predictions, vectors
from equipoise.settings.model import resolve
from tests.benchmarks.routes import CATEGORIES, TRENDS, WORDS, users
from tests.small_models import MINILM, publish

ARROW_ROWS = 1000
COPIES = 3
"""Items with the same text: Complete Journey has 92,348 items with 32,386 texts."""


def texts(number: int, longest: int = 60) -> list[str]:
    """Distinct texts of 5 to `longest` words of the vocabulary, most of them short, as behaviour and items are."""
    draw = np.random.default_rng(1)
    lengths = np.minimum(5 + draw.gamma(2.0, 8.0, number).astype(int), longest)
    return [" ".join(draw.choice(WORDS, n)) + f" {k}" for k, n in enumerate(lengths)]


def batches(frame: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    for start in range(0, frame.num_rows, ARROW_ROWS):
        yield frame.slice(start, ARROW_ROWS)


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def quiet() -> Progress:
    return Progress("", stream=io.StringIO())


def told(found: Sequence[float]) -> str:
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def bare_passes(model: Predictor, given: list[str], most: int, tokens_per_batch: int) -> Callable[[], None]:
    """Forward passes over these texts in the batches that suit them best."""
    rows = model._texts._tokens(given, most)
    plan = plan_batches([len(r) for r in rows], tokens_per_batch)
    ready = [tuple(torch.from_numpy(x) for x in pad([rows[i] for i in b], 0)) for b in plan.batches()]
    encoder = model._model.encoder

    def run() -> None:
        with torch.inference_mode():
            for tokens, mask in ready:
                encoder(tokens, mask)

    return run


def beside_bare(folder: Path, wish: argparse.Namespace) -> list[str]:
    """Ours against bare forward passes: texts alone, and users with their heads."""
    path = publish(folder / "model", resolve(MINILM, Path()), categories=CATEGORIES)
    threads = torch.get_num_threads()
    setup = Setup(str(path), threads=threads, trends=TRENDS)
    model = Predictor.load(path, threads=threads, trends=TRENDS)
    given = texts(wish.texts)
    frame = pa.RecordBatch.from_pydict({"key": given, "text": given})
    base = users(wish.users)
    columns = [pa.array(texts(wish.users)) if n == "behaviour_text" else base.column(n) for n in base.schema.names]
    base = pa.RecordBatch.from_arrays(columns, schema=base.schema)
    keys = pa.array([str(k) for k in range(wish.users)])
    keyed = pa.RecordBatch.from_arrays([keys, *base.columns], names=["key", *base.schema.names])
    bare = bare_passes(model, given, 64, setup.tokens_per_batch)
    bare_users = bare_passes(model, base.column("behaviour_text").to_pylist(), 64, setup.tokens_per_batch)
    heads = (
        np.zeros((wish.users, 384), np.float32) + 0.05,
        np.random.default_rng(1).random((wish.users, len(CATEGORIES)), np.float32),
        np.zeros((wish.users, len(CATEGORIES), 11), np.float32),
        np.ones((wish.users, len(base.column("features")[0])), np.float32),
    )

    def both() -> None:
        bare_users()
        model._heads(*heads)

    found: dict[str, list[float]] = {"texts": [], "users": []}
    for _ in range(wish.repeats + 1):
        ours = seconds(lambda: list(vectors(batches(frame), setup, "key", "text", 64, quiet())))
        found["texts"].append(seconds(bare) / ours)
        ours = seconds(lambda: list(predictions(batches(keyed), setup, "key", quiet())))
        found["users"].append(seconds(both) / ours)
    return [
        f"| texts a second, {wish.texts:,} texts ÷ bare forward passes | {told(found['texts'][1:])} |",
        f"| users a second, {wish.users:,} users ÷ bare forward passes and heads | {told(found['users'][1:])} |",
    ]


def beside_usual(folder: Path, wish: argparse.Namespace) -> list[str]:
    """`encode_texts` against predict_batch_udf, both in Spark, workers warm."""
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql import SparkSession
    from pyspark.sql import types as T

    path, most = resolve(MINILM, Path()), 32
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").config("spark.driver.memory", "2g")
    spark = builder.config("spark.sql.shuffle.partitions", "2").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    once = texts(wish.texts, longest=12)
    rows = [(k, t) for k, t in enumerate(once * COPIES)]
    frame = spark.createDataFrame(rows, "item_id LONG, text STRING").repartition(2).cache()
    frame.count()
    bfloat16 = use_bfloat16("auto", "cpu")

    def load() -> Any:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(1)
        tokenizer, model = AutoTokenizer.from_pretrained(path), AutoModel.from_pretrained(path).eval()

        def predict(given: Any) -> Any:
            fed = tokenizer([str(t) for t in given], padding="max_length", max_length=most, truncation=True, return_tensors="pt")
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                states = model(**fed).last_hidden_state.float()
            mask = fed["attention_mask"].unsqueeze(-1)
            return torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).numpy()

        return predict

    usual = predict_batch_udf(load, return_type=T.ArrayType(T.FloatType()), batch_size=64)
    model = publish(folder / "model", path, categories=CATEGORIES)
    setup = Setup(str(model), threads=1, workers=2)

    def written(made: Any) -> None:
        made.write.format("noop").mode("overwrite").save()

    ours, theirs = encode_texts(frame, setup, max_tokens=most), frame.withColumn("vector", usual("text"))
    found = []
    for _ in range(wish.repeats + 1):
        mine = seconds(lambda: written(ours))
        found.append(seconds(lambda: written(theirs)) / mine)
    spark.stop()
    return [f"| items a second, {len(rows):,} items with {len(once):,} texts ÷ the usual way | {told(found[1:])} |"]


def peak(path: str, number: int, result: Any) -> None:
    """Scores `number` users that come as a stream, and says the most memory that the process held, MiB."""
    torch.set_num_threads(1)
    block = users(500)
    names = ["key", *block.schema.names]
    keyed = pa.RecordBatch.from_arrays([pa.array([str(k) for k in range(500)]), *block.columns], names=names)
    stream = (keyed for _ in range(number // 500))
    rows = sum(b.num_rows for b in predictions(stream, Setup(path, trends=TRENDS, buffer_rows=1000), "key", quiet()))
    result.put((rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def memory(folder: Path, wish: argparse.Namespace) -> list[str]:
    path = str(publish(folder / "model", resolve(MINILM, Path()), categories=CATEGORIES))
    context, found = multiprocessing.get_context("spawn"), []
    for number in (1000, 4000, 16_000):
        result = context.Queue()
        process = context.Process(target=peak, args=(path, number, result))
        process.start()
        rows, held = result.get()
        process.join()
        assert rows == number
        found.append(held)
    return [f"| memory of a worker at 1,000, 4,000 and 16,000 users, MiB | {', '.join(f'{m:,.0f}' for m in found)} |"]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=4000)
    parser.add_argument("--users", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=5)
    wish = parser.parse_args()
    lines = [f"{torch.get_num_threads()} threads, {wish.repeats} turns", "| | ratio |", "|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        lines += beside_bare(Path(folder) / "bare", wish)
        lines += beside_usual(Path(folder) / "usual", wish)
        lines += memory(Path(folder) / "memory", wish)
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
