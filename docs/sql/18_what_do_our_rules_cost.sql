-- What did the shop's own rules take from the lists, from how many users, and how much was it worth?
-- expected_dcg adds up p_next_trip ÷ log2(place + 1) of what went, before anything that came in its place is counted.
-- gave_way: no rule is about the item, it made room for another one.
SELECT
  rule,
  rule_key,
  count(DISTINCT user_id) AS users,
  count(*) AS places,
  round(sum(coalesce(p_next_trip, 0) / log2(rank + 1)), 2) AS expected_dcg
FROM v_current_rule_effects
GROUP BY rule, rule_key
ORDER BY places DESC, rule, rule_key;
