-- Who are the five most valuable users that may fall silent?
-- Of many columns the telling ones: price_level below .5 buys the cheaper half, promotion_lift above 1 goes by promotions.
SELECT user_id, round(expected_spend, 2) AS expected_spend, round(churn_risk, 3) AS churn_risk, interest_group, favourite_store,
       round(price_level, 2) AS price_level, round(promotion_lift, 2) AS promotion_lift, summary
FROM v_current_profiles
WHERE value_tier = 5 OR value_tier IS NULL
ORDER BY churn_risk DESC NULLS LAST, user_id
LIMIT 5;
