-- What would another way to explore have brought on the lists that were shown?
-- Responses of explored places per list, by the doubly robust estimate, beside what was really shown (estimator logged).
-- Few effective_places or a large unsupported share: the log says little about this draw.
SELECT
  draw,
  published,
  estimator,
  round(value, 4) AS responses_per_list,
  round(ci_low, 4) AS low,
  round(ci_high, 4) AS high,
  lists,
  places,
  round(effective_places) AS effective_places,
  round(unsupported, 3) AS unsupported
FROM v_current_policy_estimates
WHERE estimator IN ('logged', 'dr')
ORDER BY draw, estimator DESC;
