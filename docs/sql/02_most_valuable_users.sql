-- Who are the twenty users with the highest expected spend, and why?
-- The reason names what feature.user_profile says of the user. Users appear by pseudonym only.
SELECT user_id, segment, value_tier, round(expected_spend, 2) AS expected_spend, round(p_buy, 3) AS p_buy, rfm_segment, reason
FROM v_current_segments
ORDER BY expected_spend DESC NULLS LAST, user_id
LIMIT 20;
