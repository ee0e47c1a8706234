-- How many users are in each segment, and what may we expect of them?
-- Share of users, mean probability of buying and the sum of expected spend in the coming window. Spend is null without amounts.
SELECT segment, users, round(share, 4) AS share, round(mean_p_buy, 3) AS mean_p_buy, round(expected_spend, 2) AS expected_spend
FROM v_current_segment_sizes
ORDER BY users DESC, segment;
