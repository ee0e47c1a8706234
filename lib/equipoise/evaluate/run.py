"""The whole evaluation of one as_of: tables in, rows of gold.evaluation out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property, partial

import numpy as np
from pyspark.sql import functions as F

from equipoise.evaluate import floors, published, unseen
from equipoise.evaluate.arrays import Bools, Floats, Ints, shares
from equipoise.evaluate.baselines import answers as told
from equipoise.evaluate.baselines import logit, newcomers, pairs, trees
from equipoise.evaluate.baselines import value as money
from equipoise.evaluate.baselines.interests import Counts, population
from equipoise.evaluate.behaviour import Behaviour, Catalogue, countable_trips, day_number, sample_users
from equipoise.evaluate.names import ENSEMBLE, METHODS, RANKER, VALUES
from equipoise.evaluate.protocol import ListTables, Protocol, Tables
from equipoise.evaluate.published import Prediction
from equipoise.evaluate.table import Base, Comparison, Row, rows, small_groups, standing
from equipoise.evaluate.tasks import (
    balance,
    campaigns,
    candidates,
    categories,
    interests,
    items,
    leaves,
    new_items,
    operating,
    value,
)
from equipoise.evaluate.tasks.items import Lists
from equipoise.evaluate.tasks.next_basket import NextBasket
from equipoise.evaluate.tasks.value import Answer
from equipoise.recommend.rules import may_be_shown
from equipoise.recommend.table import Sources, rows_for_blocks
from equipoise.segments import valued

TEXT_WEIGHT = 0.3
"""Weight of the encoder's kernel, in its standard deviations, beside the learnt ranker; chosen on new items from 2017-09-11."""

PAIR_USERS = 5_000
"""Users whose pairs with every category are compared: 300 categories and 24 features of them take a GB."""

Say = Callable[[str], None]
Swept = dict[str, Lists]
"""Lists by method name: setting of the balance."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the driver: the log, the catalogue, the groups, and what each training seed predicts."""

    protocol: Protocol
    tables: Tables
    behaviour: Behaviour
    catalogue: Catalogue
    groups: dict[str, Ints]
    predictions: dict[str, tuple[Prediction, ...]]
    """By method name of a route, the published model's first, and in it that model first, then the other seeds; and what these
    say without text, and what a model says that did not train on the users held out."""

    held_out: Ints
    """Users that a model among the predictions did not train on."""

    @property
    def model(self) -> str:
        """Method name of the published model."""
        return next(iter(self.predictions))

    @property
    def current(self) -> Prediction:
        """What the published model predicts."""
        return self.predictions[self.model][0]

    @cached_property
    def modelled(self) -> dict[str, tuple[Prediction, ...]]:
        """Every method's predictions, and where there are several whole models their mean."""
        everything = [p for name, found in self.predictions.items() if name in METHODS.values() for p in found]
        return self.predictions | ({ENSEMBLE: (published.mean(everything),)} if len(everything) > 1 else {})

    @cached_property
    def segments(self) -> published.Segments:
        return published.segments(self.tables.segments, self.behaviour)

    def comparisons(self) -> list[Comparison]:
        """Every comparison: the model at as_of, the baselines at every origin."""
        with ThreadPoolExecutor(1) as pool:  # Spark makes lists anew while the driver fits baselines
            found = self._comparisons(pool.submit(self._swept, self.tables.lists) if self.tables.lists else None)
        return [part for one in found for part in unseen.parts(one, self.held_out, self.model)]

    def _comparisons(self, swept: Future[Swept] | None) -> list[Comparison]:
        out = []
        for origin in self.protocol.origins():
            pair, windows = self._baskets(origin), self._windows(origin)
            out += [self.of_items(origin, pair), self.of_interests(origin, *windows), *self.of_value(origin)]
            if origin == self.protocol.as_of:
                out += [*self.of_categories(origin), *self.of_leaves(), *self.of_new_items(), *self.of_campaigns()]
                if swept is not None and self.tables.lists is not None:
                    out += [*self.of_candidates(pair[0], self.tables.lists), *self.of_balance(swept.result(), pair, *windows)]
        return out + (self.of_floors() if self.protocol.floors else [])

    def of_floors(self) -> list[Comparison]:
        """The published floors, and the model on their protocols for interests and for products."""
        answers = {name: [p.shares for p in found] for name, found in self.modelled.items()}
        where = (self.behaviour, self.catalogue, self.protocol.as_of)
        mine = [floors.interests_utc(*where, answers, self.groups)]
        if shown := self.tables.lists:
            mine.append(floors.items_utc(*where, partial(self._most_valued, shown), self.groups))
        return [*floors.comparisons(self.behaviour, self.catalogue), *(m for m in mine if m)]

    def _most_valued(self, shown: ListTables, among: Bools) -> dict[str, Ints]:
        return {VALUES: published.most_valued(shown.values, self.behaviour, self.catalogue, floors.K, among).item}

    def of_items(self, origin: date, pair: tuple[NextBasket, NextBasket]) -> Comparison:
        """Task items: the published lists on the first basket from the origin on."""
        one, here = self.protocol, origin == self.protocol.as_of
        lists, by_category = {}, {}
        if here:
            by_category[f"{self.model} predicted_share"] = self.current.shares
            by_category["target_share"] = self._share("target_share")
        if here and self.tables.lists:
            shown = published.lists(self.tables.lists.recommendations, self.behaviour, self.catalogue, one.policy.k)
            lists[f"{self.model} λ={one.policy.calibration:g} slots={one.policy.explore_slots}"] = shown
            lists[VALUES] = published.most_valued(self.tables.lists.values, self.behaviour, self.catalogue, one.policy.k)
        return items.comparison(pair, self.catalogue, lists, by_category, origin, one.policy.k, self.groups)

    def _swept(self, shown: ListTables) -> Swept:
        """The lists of a seeded sample of users made again for every λ and slots."""
        one, at = self.protocol, self.tables
        ids = sample_users(at.segments.select("user_id"), one.seed, balance.SWEEP_USERS)[0]
        users = at.segments.select("user_id").filter(F.col("user_id").isin([str(i) for i in ids]))
        sources = Sources(
            at.events.filter(F.col("event_date") < F.lit(one.as_of)),
            at.item_categories,
            may_be_shown(at.item_categories, at.items, one.rules),
            at.interests.join(users, "user_id", "left_semi"),
            shown.values.join(users, "user_id", "left_semi"),
            shown.response,
            shown.budgets,
            at.items,
        )
        swept_rows = rows_for_blocks(sources, one.policy, one.popularity, users=len(ids))
        settings = balance.policies(one.policy, one.frontier)
        found = dict(list(balance.sweep(swept_rows, settings).toPandas().groupby("policy")))
        return {
            balance.name(setting, one.policy): published.lists_of(found[i], self.behaviour, self.catalogue, setting.k)
            for i, setting in enumerate(settings)
        }

    def of_balance(self, swept: Swept, pair: tuple[NextBasket, NextBasket], counts: Counts, number: int) -> list[Comparison]:
        """Tasks balance and operating_points, from the lists of `_swept`."""
        one = self.protocol
        target, following = self._share("target_share"), shares(counts.of_window(number))
        whole = balance.comparison(swept, pair, self.catalogue, target, following, one.policy.alpha, one.as_of, self.groups)
        points = operating.comparison(replace(whole, groups={}), one.foretold, one.policy.k)
        return [whole, points] if points else [whole]

    def of_interests(self, origin: date, counts: Counts, number: int) -> Comparison:
        """Task interests: distributions over categories on the window from the origin on."""
        one, here = self.protocol, origin == self.protocol.as_of
        start = day_number(origin)
        answers: dict[str, Sequence[Floats]] = {n: [q] for n, q in interests.counting(counts, number).items()}
        if here:
            base, how = self._population(counts, number), one.popularity
            prior = interests.prior(self.behaviour, self.catalogue, start, how.event_weights, how.half_life_days, one.prior, base)
            answers |= {
                **{name: [p.shares for p in found] for name, found in self.modelled.items()},
                "target_share": [self._share("target_share")],
                "observed_share": [interests.filled(self._share("observed_share"), base)],
                "prior": [prior],
            }
        known = self.current.known if here else counts.before(number) > 0
        touched = interests.recently_touched(self.behaviour, self.catalogue, start)
        return interests.comparison(
            counts, number, answers, (*self.modelled, "target_share"), touched, known, origin, self.groups
        )

    def of_categories(self, origin: date) -> list[Comparison]:
        """Task categories: visits per user × category on the window from the origin on; none when history is too short to fit."""
        start, days, log = day_number(origin), self.protocol.window_days, self.behaviour
        known = np.flatnonzero(self.current.known)
        chosen = np.sort(np.random.default_rng(self.protocol.seed).permutation(known)[:PAIR_USERS])
        seen = pairs.visits(log, self.catalogue, log.knowing, chosen)
        training = categories.cuts(start, days, int(seen.day.min(initial=start)))
        if not training:
            return []
        at, past = pairs.features(seen, start), {cut: pairs.features(seen, cut) for cut in training}
        last = training[0]
        counted = categories.counting(at, past[last], seen.any(last, last + days))
        answers: dict[str, Sequence[Floats]] = {n: [q] for n, q in counted.items()}
        models = pairs.fitted(seen, past, days, self.protocol.seed)
        answers |= {name: [pairs.probabilities(model, at)] for name, model in models.items()}
        answers |= {name: [p.visits[chosen] for p in found] for name, found in self.modelled.items()}
        return [categories.comparison(seen, answers, list(self.modelled), chosen, origin, start, days, self.groups)]

    def of_candidates(self, basket: NextBasket, shown: ListTables) -> list[Comparison]:
        """Task candidates: every source of gold.user_item_values on the first basket after as_of."""
        sets = published.candidate_sets(shown.values, self.behaviour, self.catalogue)
        found = candidates.comparison(basket, sets, self.protocol.as_of)
        return [found] if found else []

    def of_leaves(self) -> list[Comparison]:
        """Tasks leaves and explore: the first basket after as_of by finest category; none where there are too few of them."""
        one, start, end = self.protocol, day_number(self.protocol.as_of), day_number(self.protocol.labels_until)
        world = leaves.world(self.behaviour, self.catalogue, one.excluded, start, end, one.window_days, one.seed)
        return leaves.comparisons(world, one.as_of, start, end, one.window_days, one.seed, self.groups) if world else []

    def of_new_items(self) -> list[Comparison]:
        """Task new_items: items first seen after as_of, for the users who take one; none when there are too few of either."""
        one, start = self.protocol, day_number(self.protocol.as_of)
        found = new_items.newcomers(self.behaviour, self.catalogue, one.excluded, start, day_number(one.labels_until), one.seed)
        if len(found.items) < new_items.LONG or not len(found.users):
            return []
        texts, vectors = published.item_texts(self.tables.items, self.tables.item_vectors, self.catalogue, found.needed)
        by_attributes = new_items.kernel(found, texts, new_items.attributes)
        learnt = self._newcomer_scores(found, start)
        mine, both, name = {}, {}, f"{self.model} kernel"
        if (encoded := vectors) is not None:
            mine[name] = by_model = new_items.kernel(found, texts, lambda _, first: encoded[first])
            mine[f"{name} + attributes"] = by_model + by_attributes
            both = {f"{RANKER} + {name}": s + TEXT_WEIGHT * new_items.standard(by_model) for s in learnt.values()}
        leaf = new_items.leaf_scores(found, np.unique(self.catalogue.leaf, return_inverse=True)[1])
        scores = {**learnt, **both, **leaf, "attribute_kernel": by_attributes, **mine}
        modelled = {name for name in scores if self.model in name}
        return [new_items.comparison(found, scores, modelled, one.as_of, self.groups)]

    def _newcomer_scores(self, found: new_items.Newcomers, start: int) -> dict[str, Floats]:
        """The learnt ranker's scores; nothing where no earlier cut teaches it."""
        log = countable_trips(self.behaviour, self.catalogue, self.protocol.excluded, start, start)
        known = np.union1d(np.unique(log.item), found.items)
        values = newcomers.attributes(published.item_attributes(self.tables.items, self.catalogue, known))
        sales = newcomers.Sales(log.user, np.searchsorted(known, log.item), log.day, len(self.behaviour.users))
        weight = newcomers.fitted(sales, values, start, self.protocol.seed)
        if weight is None:
            return {}
        asked = np.searchsorted(known, found.items)
        return {RANKER: newcomers.features(sales, values, start, found.users, asked).score(weight)}

    def of_value(self, origin: date) -> list[Comparison]:
        """Task value: scores and classes on the label window from the origin on, and their curves."""
        start, here = day_number(origin), origin == self.protocol.as_of
        score = self._rfm(start)
        tested = np.flatnonzero(self.segments.known if here else score.known)
        truth = self._outcome(start).of(tested)
        class_shares = self._class_shares(start)
        answers = {n: [a] for n, a in self._plain(score.of(tested), class_shares, here, tested).items()}
        answers |= {n: [a] for n, a in self._from_history(start, tested).items()}
        answers["oracle"] = [value.oracle(truth)]
        if here:
            answers |= {name: [self._model(p, tested) for p in found] for name, found in self.modelled.items()}
            answers |= {n: [a] for n, a in self._explicit(tested).items()}
            if self.segments.value_model != valued.LANGUAGE:  # else it is a copy of the model's own
                answers[self.segments.value_model] = [self._model(self.segments.value, tested)]
            named = self.segments.value.p[tested].argmax(1)  # a tie falls to the first class, as it does in the table
            answers["segments_3"] = [Answer(named.astype(np.float64), named.astype(np.float64), named=named)]
        arguments = truth, answers, {*self.modelled, valued.BEHAVIOUR}, tested, origin
        return [value.comparison(*arguments, self.groups), value.curves(*arguments)]

    def of_campaigns(self) -> list[Comparison]:
        """Task campaigns: every campaign that is over by labels_until, foretold on its first day; none without answers."""
        one, until = self.protocol, day_number(self.protocol.labels_until)
        contacts = published.contacts(self.tables.events, self.behaviour, one.labels_until)
        history = told.history_of(self.behaviour, until)
        found = campaigns.foretold(history, contacts, until=until, response_days=one.response_days, seed=one.seed)
        return campaigns.comparisons(*found, one.as_of)

    def _baskets(self, origin: date) -> tuple[NextBasket, NextBasket]:
        one = self.protocol
        return items.baskets(self.behaviour, self.catalogue, one.excluded, day_number(origin), day_number(one.labels_until))

    def _windows(self, origin: date) -> tuple[Counts, int]:
        start, days = day_number(origin), self.protocol.window_days
        return interests.windows(self.behaviour, self.catalogue, start, days, start + days)

    def _plain(self, score: money.Rfm, class_shares: Floats, here: bool, tested: Ints) -> dict[str, Answer]:
        """RFM, spend, recency, K-means and the population: no probability of their own, classes by the last known sizes."""
        own = money.rfm_sum(score)
        total = self.segments.rfm_sum[tested]
        summed = total if here and not np.isnan(total).any() else own
        per_window = score.spend_112 * self.protocol.horizon_days / money.SPEND_DAYS
        flat = np.tile(class_shares, (len(tested), 1))
        nothing = np.zeros(len(tested))
        out = {
            "population": Answer(nothing, nothing, flat, value.probability_of_buying(flat, self.protocol.ladder)),
            "recency": Answer(-score.recency, -score.recency),
            "rfm_sum": Answer(summed, summed, named=money.classes_by_share(summed, class_shares)),
        }
        if self.protocol.has_amounts:
            named = money.classes_by_share(score.spend_112, class_shares)
            out["spend_112d"] = Answer(score.spend_112, score.spend_112, named=named, money=per_window)
        cluster = self.segments.cluster[tested]
        if here and len(cluster) and cluster.min() > 0:
            place = cluster.astype(np.float64)
            out["kmeans_3"] = Answer(place, place, named=cluster - 1)
        return out

    def _model(self, prediction: Prediction, tested: Ints) -> Answer:
        p = prediction.p[tested]
        buys = value.probability_of_buying(p, self.protocol.ladder)
        spend = None if prediction.spend is None else prediction.spend[tested]
        return Answer(buys, buys if spend is None else spend, p, buys, p.argmax(1), spend)

    def _from_history(self, start: int, tested: Ints) -> dict[str, Answer]:
        """RFM cells by what their users did after earlier cuts, and BG/NBD; none where nobody made a trip before the origin."""
        one, history = self.protocol, told.history_of(self.behaviour, start)
        if not history.trip.any():
            return {}
        cuts = tuple(told.cuts_before(history, start, one.horizon_days))
        how = {"ladder": one.ladder, "threshold": self._threshold, "amounts": one.has_amounts, "seed": one.seed}
        asked = told.Question(history, start, one.horizon_days, cuts, **how)  # type: ignore[arg-type]
        methods = {"bgnbd": told.bgnbd, **({"rfm_cells": told.rfm_cells} if cuts else {})}
        return {name: told.of(method(asked), asked, tested) for name, method in methods.items()}

    def _explicit(self, tested: Ints) -> dict[str, Answer]:
        """Logit and ridge, and boosted trees, on 12 features: fitted on the examples whose labels end at or before as_of; none
        where they have fewer than two classes."""
        parts = [published.training_rows(e, self._last_cut) for e in (self.tables.examples, self.tables.validation)]
        x, label, spend = (np.concatenate(column) for column in zip(*parts, strict=True))
        if len(np.unique(label)) < 2:
            return {}
        money = spend if self.protocol.has_amounts else None
        mine = published.features(self.tables.profile, self.behaviour)[tested]
        linear, boosted = logit.fit(x, label, money), trees.fit(x, label, money, self.protocol.seed)
        expected = boosted.expected_spend(mine)
        return {
            "logit_12": told.learnt(self.protocol.ladder, linear.probabilities(mine), linear.expected_spend(mine), None),
            "hgb_12": told.learnt(self.protocol.ladder, boosted.probabilities(mine), expected, expected),
        }

    def _outcome(self, start: int) -> value.Outcome:
        one = self.protocol
        return value.outcome(self.behaviour, one.ladder, self._threshold, one.has_amounts, start, one.horizon_days)

    @cached_property
    def _threshold(self) -> float:
        return value.spend_threshold(
            self.behaviour, [day_number(c) for c in self.protocol.training_cuts], self.protocol.horizon_days
        )

    def _class_shares(self, start: int) -> Floats:
        """Class sizes in the last label window that ends at or before the origin, among the users known before it."""
        before = start - self.protocol.horizon_days
        known = self._rfm(before).known
        label = self._outcome(before).label[known]
        sizes = np.bincount(label, minlength=3) + 1.0
        out: Floats = sizes / sizes.sum()
        return out

    def _rfm(self, start: int) -> money.Rfm:
        log = self.behaviour.where(self.behaviour.day < start)
        bought = np.where(log.bought, log.amount, 0.0)
        return money.rfm(log.user, log.day, bought, log.trips(start), start, len(log.users))

    def _share(self, column: str) -> Floats:
        return published.shares_of(self.tables.interests, column, self.behaviour, self.catalogue)

    @property
    def _last_cut(self) -> int:
        """The last day whose label window ends at or before as_of."""
        return day_number(self.protocol.as_of) - self.protocol.label_days

    def _population(self, counts: Counts, number: int) -> Floats:
        """(categories,) population_share of feature.example_spec; of the last closed window where that is of a later date."""
        if published.last_cut(self.tables.examples, self.tables.validation) > self._last_cut:
            return population(counts, number)
        spec = self.tables.spec.select("category", "population_share").toPandas()
        out: Floats = np.zeros(len(self.catalogue.categories))
        out[self.catalogue.category_numbers(spec["category"].to_numpy(dtype=str))] = spec["population_share"].to_numpy()
        return out


def evaluate(evaluation: Evaluation, say: Say) -> list[Row]:
    """Every row of gold.evaluation, without source and stamps."""
    seeds = ", ".join(f"{name}: {len(found)} training seed(s)" for name, found in evaluation.predictions.items())
    say(f"{len(evaluation.behaviour.users):,} users, {seeds}")
    out = floors.published() if evaluation.protocol.floors else []
    how = {"resamples": evaluation.protocol.resamples, "seed": evaluation.protocol.seed}
    base = Base.of(evaluation.behaviour.users, **how)
    for one in evaluation.comparisons():
        found = rows(one, **how, base=base)
        left = small_groups(one.groups, one.unit)
        small = f"; {left} of {len(one.groups)} groups have too few users and are left out" if left else ""
        say(f"{one.task} from {one.origin}, {one.split}: {len(one.methods)} methods on {len(one.unit):,} rows of users{small}")
        for line in standing(found):
            say(line)
        out += found
    return out
