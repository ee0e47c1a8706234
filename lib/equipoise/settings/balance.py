"""Settings of the lists and of what they stand on: migration, associations, feedback, recommendations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from equipoise.settings.section import Count, Positive, Section, Share


class Migration(Section):
    """How interests move from window to window."""

    seed: Count = Field(1, description="Seed of the random splits behind the noise band.")
    permutations: Annotated[int, Field(ge=19, le=100_000)] = Field(
        199, description="Random splits of a user's visit days per pair of windows; fewer than 19 have no 95th percentile."
    )
    min_days: Annotated[int, Field(ge=2)] = Field(
        4, description="Visit days that both windows need before anything is said of a migration."
    )
    min_hits: Annotated[int, Field(ge=2)] = Field(
        2, description="Visit days with a category in a window before it can be gained or returning."
    )
    absent_windows: Count = Field(2, description="Windows of the user in a row without a category before it can be lost.")
    level: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="False discovery rate of the categories gained and lost, per user and window."
    )
    trend_support: Positive = Field(
        20.0,
        description="Expected visit days of all users, per window and category, at which the population's trend counts by half.",
    )
    min_support: Annotated[int, Field(ge=1)] = Field(
        20, description="Users behind a category of the transitions; rarer ones are folded into '(rest)'."
    )
    pseudo_all: Positive = Field(
        50.0, description="Weight of the population's shares in a row of transitions, in windows of one user's whole interest."
    )
    pseudo_segment: Positive = Field(
        50.0, description="Weight of the row of all users in the row of a segment, in windows of one user's whole interest."
    )


class Associations(Section):
    """What is bought together with what."""

    days: Count = Field(91, description="Days before as-of whose baskets are mined.")
    min_support: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.005, description="Share of the baskets that hold a rule's two sides, at least."
    )
    min_baskets: Annotated[int, Field(ge=2)] = Field(50, description="Baskets that hold them, at least, however few there are.")
    min_confidence: Share = Field(0.1, description="Least share of an antecedent's baskets that hold the consequent.")
    min_lift: Annotated[float, Field(ge=1.0)] = Field(1.2, description="Least confidence ÷ share of all baskets.")
    max_items: Annotated[int, Field(ge=1, le=5)] = Field(2, description="Names in an antecedent, at most.")
    max_basket: Annotated[int, Field(ge=2)] = Field(
        60, description="Names of a basket that count; a longer one is cut to a seeded draw, for its itemsets grow by powers."
    )
    max_rules: Count = Field(500, description="Rules kept per level, those with the highest leverage.")
    level: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.05, description="Chance, at most, of any false rule in a level: baskets being independent draws."
    )
    seed: Count = Field(1, description="Seed of the draw from long baskets.")


class Feedback(Section):
    """What was shown, and what came of it."""

    list_days: Count = Field(28, description="Days that a list is in force unless a newer one is published.")
    response_days: Count = Field(
        28,
        description="Days, from that of an exposure, in which an answer to it counts; where they are not windows.days, ratios "
        "carry the difference in length too.",
    )
    memory_days: Count = Field(364, description="How many days back exposures count.")
    channel: str = Field(
        "", description="Only exposures of this channel are of lists; empty: of any, and an advert of a listed item counts too."
    )
    strength: Positive = Field(
        10.0, description="Weight, in expected responses, of what ratios are shrunk towards while there is no feedback to fit it."
    )

    @model_validator(mode="after")
    def _answers_in_memory(self) -> Feedback:
        least = self.response_days + self.list_days
        if self.memory_days < least:
            raise ValueError(f"memory_days = {self.memory_days} must be at least response_days + list_days = {least}")
        return self


class Recommend(Section):
    """Balanced lists."""

    k: Count = Field(10, description="Items per list.")
    explore_slots: Annotated[int, Field(ge=0)] = Field(
        2, description="Slots at the end of the list for categories the user has not seen."
    )
    calibration: Share | Literal["auto"] = Field(
        "auto",
        description="λ: weight of calibration against relevance (Steck 2018); auto: the largest that is expected to cost no more "
        "than accuracy_loss.",
    )
    accuracy_loss: Share = Field(
        0.01, description="What calibration may cost at most, as a part of the expected DCG of the lists (calibration = auto)."
    )
    alpha: Annotated[float, Field(gt=0.0, lt=1.0)] = Field(
        0.01, description="Smoothing of the list's shares in the KL divergence (Steck 2018)."
    )
    rerank: Literal["interchange", "greedy", "flow", "quota", "xquad", "mmr"] = Field(
        "interchange",
        description="greedy: items are chosen one by one (Steck 2018); interchange: then exchanged while that brings the "
        "whole list nearer to its objective; flow: the whole list by minimum-cost flow, exact for items of one category, slow. "
        "In these three λ weighs divergence. quota: λ is the part of the places dealt out by quotas of the target; xquad: λ "
        "weighs the target that the list does not cover yet; mmr: λ weighs unlikeness by categories, whatever the target.",
    )
    divergence: Literal["kl", "js"] = Field(
        "kl",
        description="Divergence of list and target in interchange, greedy and flow: Kullback-Leibler, smoothed by alpha, or "
        "Jensen-Shannon, which needs no smoothing and also counts places in categories outside the target.",
    )
    weight: Literal["same", "personal"] = Field(
        "same",
        description="same: everybody has λ; personal: λ on average, less for users with little evidence or a narrow taste.",
    )
    history_candidates: Count = Field(100, description="Candidates from the user's own history.")
    neighbour_candidates: Annotated[int, Field(ge=0)] = Field(
        50, description="Candidates that users with the same items have; 0: none, which saves their counting."
    )
    cosine_candidates: Count = Field(50, description="Candidates by cosine of user and item vectors.")
    popular_candidates: Count = Field(50, description="Candidates popular in the user's target categories.")
    value_cuts: Count = Field(
        2, description="Earlier dates, whole horizons before as-of, from which the value of items is learnt."
    )
    value_examples: Count = Field(
        600_000, description="User × item rows learnt from at most; users are sampled (seeded) to stay below."
    )
    exclude_categories: tuple[str, ...] = Field((), description="Top-level categories that are never recommended, such as fuel.")
    never_items: tuple[str, ...] = Field((), description="Items (item_id) that no list holds, such as what is out of stock.")
    never_brands: tuple[str, ...] = Field((), description="Brands that no list holds.")
    never_categories: tuple[str, ...] = Field(
        (), description="Categories, at the level of source.category_level, of which no list holds an item."
    )
    always_items: tuple[str, ...] = Field((), description="Items that may be shown although their brand or category may not.")
    most_per_brand: Annotated[int, Field(ge=0)] = Field(
        0, description="Items of one brand at most among the places of a list that do not explore; 0: no bound."
    )
    min_item_events: Count = Field(
        10, description="Items with fewer events before as-of are candidates only from the user's own history."
    )
    explore_pool: Count = Field(30, description="Unseen categories the exploration draws from, the most promising ones.")
    explore_draw: Literal["share", "thompson", "ucb"] = Field(
        "thompson",
        description="How categories are drawn from the pool: share: in proportion to predicted share; thompson: as "
        "probable as each is among the best by what feedback says; ucb: those with the highest upper bound.",
    )
    explore_floor: Share = Field(
        0.05, description="Part of the explore slots dealt out evenly over the pool (thompson, ucb), so that no propensity is 0."
    )
    explore_budget: Literal["fixed", "personal"] = Field(
        "fixed", description="fixed: explore_slots for everybody; personal: the slots of gold.exploration_budgets."
    )
    seed: Count = Field(1, description="Seed of the exploration draw.")

    @model_validator(mode="after")
    def _slots_fit(self) -> Recommend:
        if self.explore_slots >= self.k:
            raise ValueError(f"explore_slots = {self.explore_slots} must be less than k = {self.k}")
        if both := sorted(set(self.never_items) & set(self.always_items)):
            raise ValueError(f"never_items and always_items both name {', '.join(both[:3])}; take it out of one of them")
        if self.explore_pool < self.explore_slots:
            raise ValueError(f"explore_pool = {self.explore_pool} must be at least explore_slots = {self.explore_slots}")
        return self
