"""Names of methods in gold.evaluation that more than one module speaks of."""

from __future__ import annotations

METHODS = {"text": "text_lora", "tower": "tower"}
"""Name of a route in `method`."""

WITHOUT_TEXT = " without text"
"""After a route's name: its models with nothing in place of the user's vector: what counts alone say."""

UNSEEN = " unseen"
"""After a route's name: its model that never trained on the users of split held_out_users."""

ENSEMBLE = "ensemble"
"""Name of the mean of all models' probabilities, of every seed and route, where there is more than one."""

VALUES = "item_values"
"""Name of lists by p_next_trip of gold.user_item_values alone."""

RANKER = "newcomer_ranker"
HELD_OUT_SPLIT = "held_out_users"
