-- Which users moved beyond the noise of their own baskets in the newest window, and what did they gain and lose?
-- Drift in bits, beside what the same visit days show when dealt out at random. About 5 in 100 users stand here by chance alone.
SELECT user_id, window_end, previous_days, days, round(drift_js_bits, 3) AS drift, round(noise_mean_bits, 3) AS noise,
       round(noise_p95_bits, 3) AS band, concat_ws(', ', gained) AS gained, concat_ws(', ', lost) AS lost,
       concat_ws(', ', returning) AS returning
FROM v_current_interest_migration
WHERE migrated AND window_end = (SELECT max(window_end) FROM v_current_interest_migration WHERE migrated)
ORDER BY drift_js_bits - noise_p95_bits DESC, user_id
LIMIT 20;
