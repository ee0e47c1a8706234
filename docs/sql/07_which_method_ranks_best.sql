-- Which method predicts best, and does the interval leave room for another winner?
-- One leading metric per task, on the window after the date (KL divergence: less is better). Who wins without the model stands first too.
-- The oracle knows the true class, so it does not compete. Other metrics, origins and user groups: v_current_evaluation.
WITH leading AS (
  SELECT task, metric, method, value, ci_low, ci_high, n,
         row_number() OVER (PARTITION BY task ORDER BY CASE WHEN metric = 'kl_bits' THEN value ELSE -value END, method) AS place
  FROM v_current_evaluation
  WHERE user_group = 'all' AND split = 'test' AND origin = CAST(as_of AS STRING) AND method <> 'oracle'
    AND (task, metric, cutoff) IN (('items', 'ndcg', 10), ('interests', 'kl_bits', 0), ('value', 'auc', 0)))
SELECT task, metric, place, method, round(value, 4) AS value, round(ci_low, 4) AS ci_low, round(ci_high, 4) AS ci_high, n
FROM leading
ORDER BY task, place;
