from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest

from equipoise.errors import ContractError
from equipoise.training.card import model_card
from equipoise.training.sample import Sample, dates_of, described, vocabulary
from tests.unit.models.test_package import META

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAY = (date(2017, 9, 11) - date(1970, 1, 1)).days


def cuts(spark: SparkSession, *days: int) -> DataFrame:
    return spark.createDataFrame([(DAY + d,) for d in days], "cut_day INT")


def test_rows_and_cuts(spark: SparkSession) -> None:
    found = described(cuts(spark, -28, 0, 0), cuts(spark, 28, 28), labels_by=date(2017, 11, 6), label_days=28)
    assert found == Sample(3, ("2017-08-14", "2017-09-11"), 2, ("2017-10-09",))


@pytest.mark.parametrize(
    ("train", "validation", "text"),
    [
        ((0,), (56,), r"feature.examples_validation has labels until 2017-12-04, expected none at or after 2017-11-06"),
        ((1,), (28,), r"feature.examples has labels until 2017-10-10, expected none at or after 2017-10-09"),
        ((), (28,), "feature.examples is empty"),
    ],
)
def test_examples_of_another_date_are_refused(
    spark: SparkSession, train: tuple[int, ...], validation: tuple[int, ...], text: str
) -> None:
    with pytest.raises(ContractError, match=text):
        described(cuts(spark, *train), cuts(spark, *validation), labels_by=date(2017, 11, 6), label_days=28)


def test_dates_tell_which_labels_were_seen() -> None:
    sample = Sample(3, ("2017-08-14", "2017-09-11"), 2, ("2017-10-09",))
    assert dates_of(sample, as_of=date(2017, 11, 8), label_days=28) == {
        "as_of": "2017-11-08",
        "fitted_until": "2017-10-09",
        "validated_from": "2017-10-09",
        "seen_until": "2017-11-06",
    }


def test_vocabulary_by_position(spark: SparkSession) -> None:
    spec = spark.createDataFrame([(1, "b", 0.25), (0, "a", 0.75)], "position INT, category STRING, population_share DOUBLE")
    assert vocabulary(spec) == (["a", "b"], [0.75, 0.25])
    with pytest.raises(ContractError, match=r"positions \[1\]"):
        vocabulary(spec.filter("position = 1"))


def test_the_card_says_what_it_must() -> None:
    names = ("loss", "category_loss", "category_kl_bits", "value_loss")
    history = [
        dict(zip(("step", *names), row, strict=True))
        for row in ((0, 4.0, 3.0, 2.5, 1.0), (50, 3.5, 2.7, 2.2, 0.8), (90, 3.6, 2.8, 2.3, 0.8))
    ]
    meta = replace(META, metrics={"best_step": 50.0, "steps": 90.0}, settings={"training": {"seed": 7}})
    card = model_card(meta, Sample(100, ("2017-09-11",), 20, ("2017-10-09",)), history, "all epochs done")
    for part in (
        "# Model m1",
        "- `feature.examples` version 3",
        "- 100 training examples at the cuts 2017-09-11",
        "- one seed: 7",
        "|  | untrained (baselines) | published (step 50) |",
        "| next categories, KL from the label shares, bits".replace("| next", "| category_kl_bits: next")
        + " | 2.5000 | 2.2000 |",
        "| 90 | 3.6000 | 2.8000 | 2.3000 | 0.8000 |",
        "Training ended at step 90: all epochs done.",
        "## Limits",
    ):
        assert part in card, part
    assert "Pre-training" not in card and "Kinds of" not in card
    assert "no amounts" in model_card(replace(meta, has_amounts=False), Sample(1, ("x",), 1, ("y",)), history, "")


@pytest.mark.parametrize(
    ("training", "said"),
    [
        ({"method": "lora"}, "text encoder with LoRA adapters (merged) reads"),
        ({"method": "full"}, "text encoder, fine-tuned in all its weights, reads"),
        ({"method": "frozen"}, "text encoder, as it is, reads"),
        ({"method": "prompt"}, "text encoder with learnt embeddings before those of the text (beside it, in adapter/) reads"),
        ({}, "text encoder reads"),
    ],
)
def test_the_card_says_what_was_trained(training: dict[str, str], said: str) -> None:
    assert said in _card({}, route="text", settings={"training": training})


TOWER = {"kind": "attention", "layers": 2, "width": 8, "events": 6}
OF_SEQUENCES = {
    **{f"sequence_behaviour_{kind}_{n}": 0.5 for kind in ("buy", "look", "review") for n in ("precision", "recall", "f1")},
    "sequence_behaviour_rows": 1234.0,
    "sequence_behaviour_loss": 0.7,
    "sequence_behaviour_base_loss": 0.9,
}


def _card(found: dict[str, float], **more: object) -> str:
    history = [{"step": 0.0, "loss": 4.0, "category_loss": 3.0, "category_kl_bits": 2.0, "value_loss": 1.0, **found}]
    off = {"behaviour": "the sequences show buy alone"}
    settings = {"training": {"sequence_behaviour_weight": 0.2}}
    meta = replace(META, metrics={"best_step": 0.0, "steps": 9.0}, settings=settings, route="tower", tower=TOWER, off=off)
    return model_card(replace(meta, **more), Sample(1, ("x",), 1, ("y",)), history, "done")  # type: ignore[arg-type]


def test_the_card_tells_the_kinds_of_sequences_or_why_not() -> None:
    assert "## Kinds of sequences\n\nThe head is off: the sequences show buy alone." in _card({})
    kinds = {"behaviour_rows": 9.0, "behaviour_loss": 1.0, "behaviour_base_loss": 1.0}
    kinds |= {f"behaviour_{k}_{n}": 0.5 for k in ("buy", "look", "review") for n in ("precision", "recall", "f1")}
    card = _card(kinds | OF_SEQUENCES, off={})
    assert "(1,234 sequences); log loss 0.7000, always saying the shares of the kinds 0.9000:" in card
    assert "| sequence_behaviour_loss: what most of a sequence's second half is, log loss, nats | 0.7000 | 0.7000 |" in card
    assert "No sequence of the validation examples" in _card(kinds, off={})
    assert "Kinds of sequences" not in _card(kinds, off={}, settings={})


def test_the_card_tells_what_pre_training_did() -> None:
    figures = {"retrieval_loss": 6.5, "recall": 0.05, "kept_neighbours": 1.0}
    told = {"kind": "both", "step": 0, "texts": 32386, "pairs": 410000}
    told |= {f"{when}_{n}": v for when in ("start", "best") for n, v in figures.items()}
    card = _card({}, pretraining=told)
    assert "Continued pre-training (both) on 32,386 item texts and 410,000 pairs of texts" in card
    assert "Kept: the untouched encoder, which none of them beat" in card
    assert "| held-out partners among the first ten | 0.0500 | 0.0500 |" in card
    assert "Kept: step 50, by" in _card({}, pretraining=told | {"step": 50})
