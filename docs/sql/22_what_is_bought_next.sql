-- In which categories are most users about to buy, and where do they only look?
-- Sums of probabilities over users, so they are expected numbers of users in the next window.
SELECT category, count(*) AS users, round(sum(p_buy), 1) AS expected_buyers, round(sum(p_interest), 1) AS expected_lookers
FROM v_current_category_values
GROUP BY category
ORDER BY expected_buyers DESC, category
LIMIT 30;
