-- Where do the usual RFM segments and the model disagree?
-- Users of each RFM segment by the model's segment, with the mean chance to buy. Empty where the source has no amounts.
SELECT rfm_segment, segment, count(*) AS users, round(avg(p_buy), 3) AS mean_p_buy, round(avg(expected_spend), 2) AS mean_expected_spend
FROM v_current_segments
WHERE rfm_segment IS NOT NULL
GROUP BY rfm_segment, segment
ORDER BY rfm_segment, users DESC, segment;
