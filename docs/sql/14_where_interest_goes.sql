-- Where does the interest in a category go next, more than everybody's interest goes there?
-- Lift: probability ÷ the share of the category in all next windows. The category itself is left out: most interest stays.
SELECT from_category, to_category, round(probability, 4) AS probability, round(probability / population_share, 2) AS lift, users
FROM v_current_category_transitions
WHERE segment = 'all' AND from_category <> to_category AND from_category <> '(rest)' AND to_category <> '(rest)'
ORDER BY probability - population_share DESC, from_category, to_category
LIMIT 20;
