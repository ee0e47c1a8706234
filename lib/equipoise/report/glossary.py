"""Names of tasks and metrics of gold.evaluation in words, and which way is better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DIFFERENCE = "_minus_"
SEED_SPREAD = "_seed_sd"


@dataclass(frozen=True)
class Metric:
    """One metric: its name for people, which way is better (None: neither), and what it says."""

    label: str
    better: Literal["higher", "lower"] | None
    text: str


UP: Literal["higher"] = "higher"
DOWN: Literal["lower"] = "lower"

METRICS: dict[str, Metric] = {
    "ndcg": Metric("NDCG", UP, "discounted hits against the best list of the same length"),
    "recall": Metric("Recall", UP, "share of what came that the list held"),
    "category_ndcg": Metric("Category NDCG", UP, "the same for the categories of what is shown and bought"),
    "kl_bits": Metric("KL divergence", DOWN, "bits lost by believing the prediction; a proper score"),
    "kl_bits_next": Metric("KL to the next window", DOWN, "bits between the list's categories and what came"),
    "log_loss": Metric("Log loss", DOWN, "mean surprise in nats; a proper score"),
    "js_bits": Metric("JS divergence", DOWN, "bits between prediction and truth; rewards too sharp predictions on sparse counts"),
    "js_bits_next": Metric("JS to the next window", DOWN, "bits between the list's categories and what came"),
    "total_variation": Metric("Total variation", DOWN, "share that would have to move"),
    "category_auc": Metric("Category AUC", UP, "per user: chance that a category that comes outranks one that does not"),
    "entry_auc": Metric("Entry AUC", UP, "the same among categories that the user has not touched lately"),
    "auc": Metric("AUC", UP, "chance that a buyer is ranked above a non-buyer"),
    "ap_nonbuyers": Metric("Precision, non-buyers", UP, "average precision in finding those who will not buy, the rarer class"),
    "ngini": Metric("Spend Gini", UP, "normalised Gini: 1 orders users by spend perfectly"),
    "ap": Metric("Average precision", UP, "precision in finding what comes true, over all thresholds"),
    "visit_bits": Metric("Visits", DOWN, "log loss of a visit in each category, summed, in bits; a proper score"),
    "entry_ap": Metric("Entry precision", UP, "the same among pairs that were not visited for 84 days"),
    "decile_lift": Metric("Decile lift", UP, "spend of the top tenth against the mean"),
    "brier": Metric("Brier score", DOWN, "mean squared error of the probability of buying"),
    "ece": Metric("Calibration error", DOWN, "mean gap between said and seen, over tenths of the users"),
    "ece_null": Metric("… of a perfect model", None, "the calibration error that chance alone gives"),
    "ece_null_p95": Metric("… its 95th percentile", None, "a calibration error above it is real"),
    "accuracy": Metric("Accuracy", UP, "share of classes named rightly"),
    "macro_f1": Metric("Macro F1", UP, "mean F1 over the classes"),
    "mae": Metric("Mean absolute error", DOWN, "of expected spend, in money"),
    "mse": Metric("Mean squared error", DOWN, "of expected spend, in squared money"),
    "ndcg_full": Metric("NDCG, full ideal", UP, "discounted hits against the best list as long as the truth"),
    "precision": Metric("Precision", UP, "share of places that came true"),
    "hit": Metric("Hit rate", UP, "share of users with at least one hit"),
    "f1": Metric("F1", UP, "harmonic mean of precision and recall"),
    "mrr": Metric("MRR", UP, "one over the first place that hits"),
    "conversion": Metric("Conversion", UP, "share of users who take anything listed within the whole label window"),
    "comes_back": Metric(
        "Comes back", UP, "of what was listed and taken, the share taken on a second day: a proxy of satisfaction"
    ),
    "ctr": Metric("Responses per exposure", UP, "share of the places shown that were answered"),
    "explore_ctr": Metric("… of explore places", UP, "share of the explore places shown that were answered"),
    "responses_per_user": Metric("Responses per user", UP, "those of users who were shown nothing count as 0"),
    "exposures_per_user": Metric("Exposures per user", None, "places shown"),
    "split_p": Metric("p of the split", None, "chance of so uneven a split if users came to the arms as planned"),
    "recall_repeat": Metric("Recall, repeats", UP, "among things the user had before"),
    "recall_explore": Metric("Recall, new things", UP, "among things new to the user"),
    "explore_precision": Metric("Precision, new things", UP, "share of the new things shown that came true"),
    "explore_slot_precision": Metric("Precision, explore slots", UP, "share of the explore places that came true"),
    "explore_slot_cost": Metric("Cost of an explore slot", DOWN, "NDCG that each explore place costs"),
    "explore_share": Metric("Share of new things", None, "share of the places that show something new to the user"),
    "ndcg_loss": Metric("NDCG lost", DOWN, "part of the NDCG of lists without calibration that is lost"),
    "kl_cut": Metric("Divergence taken away", UP, "part of the divergence of lists without calibration that is gone"),
    "hypervolume": Metric(
        "Area of the frontier", UP, "part of the rectangle of accuracy and divergence that some weight dominates"
    ),
    "candidates": Metric("Candidates", None, "how many there are per user"),
    "catalogue_coverage": Metric("Catalogue coverage", UP, "share of all items that anybody is shown"),
    "category_coverage": Metric("Category coverage", UP, "share of all categories that anybody is shown"),
    "coverage": Metric("Coverage", UP, "share of all items that anybody is shown"),
    "repeat_share": Metric("Share of repeats", None, "share of the places that show what the user had before"),
    "exposure_gini": Metric("Gini of exposure", DOWN, "how unequally the items are shown: 0 all alike, 1 one alone"),
    "category_entropy_bits": Metric("Entropy of a list", None, "bits of the category shares of a list"),
    "largest_category_share": Metric("Largest category", None, "share of a list that its largest category takes"),
    "categories_shown": Metric("Categories per list", None, "categories with a part in a list"),
    "ild": Metric("Diversity", UP, "mean distance of the items in a list, by their category weights"),
    "novelty_bits": Metric("Novelty", None, "mean self-information of what is shown, in bits"),
    "serendipity": Metric("Serendipity", UP, "share of places that hit with something not among the most popular"),
}
"""Metrics by name in the order in which they are drawn; others come last."""

PARTS = {"precision": ("Precision", UP), "recall": ("Recall", UP), "f1": ("F1", UP)}
CATEGORY = "category_"
ROC = "roc_tpr"
POINTS = (ROC, "gain", "spend_said", "spend_seen", "p_said", "p_seen")
"""Metrics that are points of curves; `cutoff` says which point."""
"""Points of a curve, drawn as one."""

LEADING = {
    "items": ("ndcg", "recall", "category_ndcg"),
    "candidates": ("recall", "recall_explore", "candidates"),
    "arms": ("ctr", "conversion", "explore_ctr"),
    "leaves": ("ndcg", "recall", "recall_explore"),
    "explore": ("explore_slot_precision", "explore_slot_cost", "ndcg"),
    "items_utc": ("ndcg", "recall"),
    "interests": ("kl_bits", "ndcg", "js_bits"),
    "interests_utc": ("kl_bits", "ndcg", "js_bits"),
    "categories": ("ap", "entry_ap", "auc"),
    "new_items": ("ndcg", "recall"),
    "value": ("auc", "ap_nonbuyers", "ngini"),
    "campaigns": ("auc", "decile_lift", "ap"),
}
"""Metrics drawn first, and counted when winners are named: proper scores lead where a distribution is predicted."""

TASKS: dict[str, tuple[str, str]] = {
    "items": (
        "What will they buy next?",
        "Ranked lists of items against what each user bought in the label window; every item of the catalogue competes.",
    ),
    "candidates": (
        "What could a list hold at best?",
        "Candidates of gold.user_item_values as sets, by the source that brought them, against the next basket.",
    ),
    "arms": (
        "Which arm of the experiment did better?",
        "What was shown to the users of each arm and what they answered, from ops.feedback; intervals over users.",
    ),
    "leaves": (
        "Which kinds of product are in the next basket?",
        "Ranked lists of the finest categories against the first basket after the date, repeats and new ones alike.",
    ),
    "explore": (
        "What does a place for something new bring, and cost?",
        "Lists of the finest categories: the best the user knows, and at the end one to three that are new to the user, by "
        "different ways to choose them.",
    ),
    "interests": (
        "Which categories come next?",
        "A predicted distribution over categories against the shares of the label window.",
    ),
    "interests_utc": (
        "Which categories come next, as others measured it?",
        "The same on raw UTC dates and the users and categories of the published figures; what the model saw of the first UTC "
        "day counts for nobody.",
    ),
    "items_utc": (
        "What will they buy next, as others measured it?",
        "The same lists on raw UTC dates and the products and users of the published figures; what the model saw of the first "
        "UTC day is history for everybody.",
    ),
    "categories": (
        "Which categories will they visit, and which anew?",
        "Every user × category pair, ordered by a score, against the visits of the label window; entry: not visited for 84 days.",
    ),
    "new_items": (
        "Who buys what nobody had before?",
        "Items first seen in the label window, ranked for the users who took one: no count can help, only what an item is.",
    ),
    "other_shop": (
        "What is the encoder worth in another shop?",
        "MovieLens: genres of each user's last fifth of liked films, ranked by the cosine with the mean of the films before.",
    ),
    "label_share": (
        "What do few labels teach?",
        "Trained on a part of the users' labels, in per cent behind the @, and judged on the windows after the newest cut.",
    ),
    "value": ("Who will buy, and how much?", "Users ordered by a score against what they did in the label window."),
    "campaigns": (
        "Who will answer a campaign?",
        "Contacted users ordered on the campaign's first day, by what was learnt from campaigns that were over; it is response, "
        "not the effect of contacting: shops choose whom they contact.",
    ),
}
"""Question and explanation per task; balance and the floors have sections of their own."""

ROUTES = {
    "text_lora": "the fine-tuned encoder that reads behaviour as text, with its heads",
    "tower": "the sequence model over vectors of the items, with the same heads",
}

METHODS: dict[str, str] = {
    **{route: f"{text}; with λ and slots: the published lists that were built on it" for route, text in ROUTES.items()},
    **{f"{route} without text": "the same models with nothing in place of text: what counts alone say" for route in ROUTES},
    **{f"{route} unseen": "the same, trained without the users that it is judged on" for route in ROUTES},
    **{f"{route} predicted_share": "categories in the order the model expects them" for route in ROUTES},
    **{
        f"newcomer_ranker + {route} kernel": "the ranker, and likeness to the history by the encoder's vectors"
        for route in ROUTES
    },
    **{f"{route} kernel": "new items like those of the user's history by the encoder's vectors" for route in ROUTES},
    **{f"{route} kernel + attributes": "the sum of both, as logarithms" for route in ROUTES},
    "ensemble": "the mean of the probabilities of all models there are, of every seed and route",
    "item_values": "candidates by p_next_trip of gold.user_item_values, without balance or exploring",
    "target_share": "history and model mixed by evidence: what the lists aim at",
    "observed_share": "the user's own decayed history, nothing else",
    "prior": "decayed history + Dirichlet pseudo-counts of the population: where the model starts from, untrained",
    "ema_dirichlet_tuned": "ema_dirichlet with the pseudo-weight that was best a window ago",
    "ema_dirichlet": "exponential average over windows + Dirichlet pseudo-counts of the population",
    "ema_popularity": "exponential average over windows, mixed with popularity by the share that was best a window ago",
    "ever_popularity": "days with a visit of the category, ever, and its popularity, in the mix that was best a window ago",
    "popularity": "categories by how many users visited them in the last 28 days",
    "logit_pairs": "logit on 23 features of the pair, the user and the category, EASE scores among them",
    "boosted_pairs": "gradient boosting on the same 23 features",
    "population": "the same for everybody: how all users behave",
    "last_window": "what the user did in the last window",
    "all_history": "what the user did ever, undecayed",
    "g_top_freq": "the most popular things, for everybody",
    "p_top_freq": "what the user bought most often",
    "personal_decay": "what the user bought most often, older baskets counting less",
    "tifu_knn": "the user's baskets by how long ago, mixed with those of the 300 users most alike (TIFU-KNN)",
    "boosted_leaves": "gradient boosting on 44 features of the pair, one model for what the user knows, one for what is new",
    "all": "every candidate, whichever source brought it",
    "history": "candidates from the user's own history",
    "neighbour": "candidates that users with the same items have",
    "cosine": "candidates whose text is near to what the user does",
    "popular": "candidates popular in the user's target categories",
    "without": "every candidate but those that this source alone brought",
    "category_top_freq": "categories the user bought from most often",
    "category_decay": "categories the user bought from most often, older baskets counting less",
    "popular_leaf": "new items of the finest category that everybody's history is fullest of",
    "leaf_share": "new items of the finest category that the user's own history is fullest of",
    "attribute_kernel": "new items like those of the user's history by TF-IDF of their attributes",
    "newcomer_ranker": "new items by shares of their attributes and by how new ones with them sold, learnt at earlier dates",
    "recency": "the more recent the last purchase, the better",
    "rfm_sum": "sum of the fifths of recency, frequency and money",
    "spend_112d": "money spent in the last 112 days",
    "segments_3": "the three published segments alone, O before interest before buy",
    "kmeans_3": "three K-means clusters on recency, frequency and money",
    "logit_12": "multinomial logit on the 12 explicit features",
    "hgb_12": "boosted trees on the same",
    "bgnbd": "how often buyers come, and whether they still do (BG/NBD), and what they leave each time (gamma–gamma)",
    "behaviour": "the published value of users: linear models and boosted trees on their days",
    "rfm_cells": "what followed in the user's cell of fifths of recency, frequency and money",
    "response": "the chance behind the audiences: half a logit, half boosted trees",
    "response_logit": "its logit alone",
    "response_boosted": "its boosted trees alone",
    "response_linear": "a ridge on the same features",
    "earlier_rate": "the user's rate of answers to earlier campaigns, shrunk",
    "oracle": "knows the true class and nothing else: what three segments can reach at best; it does not compete",
}
"""Methods in words, by the first word or the whole of their name."""


def task(name: str) -> tuple[str, str]:
    """What a task asks, and how; the name itself, and nothing, of one that is not known here."""
    return TASKS.get(name, (name.replace("_", " ").capitalize(), ""))


def method(name: str) -> str:
    """A method in words; empty for one that nobody described."""
    return METHODS.get(name) or METHODS.get(name.split(" ")[0], "")


def metric(name: str, cutoff: int = 0) -> tuple[str, Metric]:
    """Label with its cut-off, such as NDCG@10, and the metric."""
    found = METRICS.get(name) or _derived(name)
    return (f"{found.label}@{cutoff}" if cutoff else found.label), found


def _derived(name: str) -> Metric:
    """A metric of categories, of one class, or one that nobody described: then no way is better."""
    rest = name.removeprefix(CATEGORY)
    if rest != name and rest in METRICS:
        base = METRICS[rest]
        return Metric(
            f"Category {base.label[0].lower() if not base.label[:2].isupper() else base.label[0]}{base.label[1:]}",
            base.better,
            base.text,
        )
    kind, _, of = name.partition("_")
    if kind in PARTS and of:
        return Metric(f"{PARTS[kind][0]} of {of}", PARTS[kind][1], f"of the class {of}")
    return Metric(name.replace("_", " "), None, "")


def order(name: str) -> int:
    """Place of a metric in a figure."""
    return list(METRICS).index(name) if name in METRICS else len(METRICS)
