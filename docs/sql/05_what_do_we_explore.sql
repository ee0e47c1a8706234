-- Which categories do we try on users who do not know them, and how likely was each draw?
-- The propensity is the chance that an item was drawn into this user's list: 1 ÷ propensity weights what comes of it.
SELECT category, count(*) AS places, count(DISTINCT user_id) AS users, round(avg(propensity), 4) AS mean_propensity,
       round(min(propensity), 5) AS least_propensity
FROM v_current_recommendations
WHERE slot = 'explore'
GROUP BY category
ORDER BY places DESC, category
LIMIT 25;
