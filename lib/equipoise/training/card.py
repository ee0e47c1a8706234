"""The model card: what a model was trained on, how well it does, how it was made, and what it must not be used for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from equipoise.models import ModelMeta
from equipoise.tables.vocabulary import BEHAVIOURS
from equipoise.training.sample import Sample

_FIGURES = (
    ("loss", "weighted sum, nats"),
    ("category_loss", "next categories, cross-entropy, nats"),
    ("category_kl_bits", "next categories, KL from the label shares, bits"),
    ("value_loss", "value class, log loss, nats"),
)
_SEQUENCE_FIGURES = (
    ("next_item_loss", "next item among those of a batch, cross-entropy, nats"),
    ("behaviour_loss", "buy, look or review, log loss, nats"),
    ("sequence_behaviour_loss", "what most of a sequence's second half is, log loss, nats"),
)


_READERS = {
    "full": ", fine-tuned in all its weights,",
    "last_layers": ", fine-tuned in its last blocks,",
    "frozen": ", as it is,",
    "lora": " with LoRA adapters (merged)",
    "adalora": " with AdaLoRA adapters (merged)",
    "bottleneck": " with a small network behind every block (beside it, in adapter/)",
    "prefix": " with learnt keys and values before those of the text (beside it, in adapter/)",
    "prompt": " with learnt embeddings before those of the text (beside it, in adapter/)",
}
"""What each training.method made of the pretrained encoder."""


def model_card(
    meta: ModelMeta, sample: Sample, history: Sequence[dict[str, float]], ended: str, reverted: Sequence[str] = ()
) -> str:
    """The card as Markdown. `history`: one record per validation pass, the first of the untrained model. `reverted`: heads that
    are published as they began."""
    start, best = history[0], next(h for h in history if h["step"] == meta.metrics["best_step"])
    best = {name: meta.metrics.get(f"best_{name}", value) for name, value in best.items()}
    training, figures = meta.settings.get("training", {}), _figures(meta, history)
    parts = [
        f"# Model {meta.model_id}",
        f"{_reader(meta)} Two heads predict "
        f"the categories of the user's next window ({len(meta.categories)} categories, given that it is not empty) and its value "
        "class (O nothing, interest, buy). The category head adds to the log of the user's decayed history smoothed by the "
        f"population; the value head adds to a multinomial logit on {len(meta.feature_names)} explicit features. Untrained, the "
        "model is those two baselines.",
        "## Trained on",
        _bullets(
            *(f"`{table}` version {version}" for table, version in sorted(meta.table_versions.items())),
            f"{sample.training_rows:,} training examples at the cuts {', '.join(sample.training_cuts)}",
            f"{sample.validation_rows:,} validation examples at the later cut {', '.join(sample.validation_cuts)}",
            f"one seed: {training.get('seed')}; figures move a little with it",
        ),
        "Labels come from the window that starts at the cut; features from before it.",
        "## Validation",
        _table(("", "untrained (baselines)", f"published (step {int(best['step'])})"), _compared(figures, start, best)),
        f"Training ended at step {int(meta.metrics['steps'])}: {ended}. Lower is better everywhere. The published weights are "
        "the best of these passes, chosen on the same validation examples, so the gain is a little flattered; held-back figures "
        "are in `gold.evaluation`.",
        *(f"The {head} head is published as it began: on these examples training had made it worse." for head in reverted),
        _table(
            ("step", *(name for name, _ in figures)),
            [(f"{int(h['step'])}", *(_number(h[n]) for n, _ in figures)) for h in history],
        ),
        *_behaviours(meta, best),
        *_sequences(meta, best),
        *_pretraining(meta),
        "## Settings",
        f"```json\n{json.dumps(meta.settings, indent=2, sort_keys=True)}\n```",
        "## Limits",
        _bullets(
            f"Reads at most {_most(meta)}; categories it has not seen in training have no place.",
            "Expected spend is Σ probability × mean spend of the class in training labels: a ranking aid, not a forecast."
            if meta.has_amounts
            else "The source has no amounts: it says nothing of money.",
            "Trained on one source and period; on another, train again. It has no notion of season beyond its training cuts.",
            "Says what users are likely to do, not what a campaign would change.",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _reader(meta: ModelMeta) -> str:
    if meta.route == "tower":
        tower = meta.tower
        return (
            "A pretrained text encoder, as it is, makes a vector of each item's text; a sequence model "
            f"({tower['kind']}, {tower['layers']} layers of width {tower['width']}) reads the vectors of a user's latest items, "
            "with event types and times. It is also trained to point at the next item, and to tell what the next behaviour is."
        )
    made = _READERS.get(meta.settings.get("training", {}).get("method", ""), "")
    return f"A pretrained text encoder{made} reads a user's behaviour as one line of text."


def _most(meta: ModelMeta) -> str:
    return f"{meta.tower['events']} events" if meta.route == "tower" else f"{meta.max_tokens} tokens of behaviour text"


def _figures(meta: ModelMeta, history: Sequence[dict[str, float]]) -> tuple[tuple[str, str], ...]:
    """What was validated; a head that is off is not shown."""
    there = (f for f in _SEQUENCE_FIGURES if f[0] in history[0] and f[0].removesuffix("_loss") not in meta.off)
    return (*_FIGURES, *there)


def _behaviours(meta: ModelMeta, best: dict[str, float]) -> list[str]:
    """The report per kind of behaviour, or why there is none."""
    if meta.route != "tower":
        return []
    if "behaviour" in meta.off:
        return ["## Kinds of behaviour", f"The head is off: {meta.off['behaviour']}."]
    names = ("precision", "recall", "f1")
    rows = [(kind, *(_number(best[f"behaviour_{kind}_{n}"]) for n in names)) for kind in BEHAVIOURS]
    text = (
        f"Of each event that follows another in the validation examples ({int(best['behaviour_rows']):,} events); log loss "
        f"{_number(best['behaviour_loss'])}, always saying the shares of the kinds {_number(best['behaviour_base_loss'])}:"
    )
    return ["## Kinds of behaviour", text, _table(("", *names), rows)]


def _sequences(meta: ModelMeta, best: dict[str, float]) -> list[str]:
    """The report per kind of sequence, where it is learnt."""
    task = "sequence_behaviour"
    if meta.route != "tower" or not meta.settings.get("training", {}).get(f"{task}_weight"):
        return []
    head = "## Kinds of sequences"
    if "behaviour" in meta.off:
        return [head, f"The head is off: {meta.off['behaviour']}."]
    if f"{task}_loss" not in best:
        return [head, "No sequence of the validation examples has events of a kind in both halves."]
    names = ("precision", "recall", "f1")
    rows = [(kind, *(_number(best[f"{task}_{kind}_{n}"]) for n in names)) for kind in BEHAVIOURS]
    text = (
        f"What most of a sequence's second half is, told from its first half ({int(best[f'{task}_rows']):,} sequences); log loss "
        f"{_number(best[f'{task}_loss'])}, always saying the shares of the kinds {_number(best[f'{task}_base_loss'])}:"
    )
    return [head, text, _table(("", *names), rows)]


def _pretraining(meta: ModelMeta) -> list[str]:
    """What continued pre-training did to the encoder, where there was any."""
    told = meta.pretraining
    if not told:
        return []
    kept = f"step {told['step']}" if told["step"] else "the untouched encoder, which none of them beat"
    named = told["kind"] == "categories"
    of = "a text and the name of its category" if named else "texts bought together before the training cuts"
    text = (
        f"Continued pre-training ({told['kind']}) on {told['texts']:,} item texts and {told['pairs']:,} pairs of {of}. "
        f"Kept: {kept}, by the retrieval of partners that were held out."
    )
    figures = (
        ("retrieval_loss", "held-out partners, log loss, nats"),
        ("recall", "held-out partners among the first ten"),
        ("kept_neighbours", "share of ten nearest texts that were so before"),
    )
    rows = [(said, _number(told[f"start_{name}"]), _number(told[f"best_{name}"])) for name, said in figures]
    return ["## Pre-training", text, _table(("", "untouched", "kept"), rows)]


def _compared(figures: Sequence[tuple[str, str]], start: dict[str, float], best: dict[str, float]) -> list[tuple[str, ...]]:
    return [(f"{name}: {text}", _number(start[name]), _number(best[name])) for name, text in figures]


def _number(value: Any) -> str:
    return f"{value:.4f}"


def _bullets(*lines: str) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    ruled = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in ruled)
