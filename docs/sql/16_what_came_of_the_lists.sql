-- What came of the lists that were shown, per place and kind of place?
-- Each exposure counts once its days of response are over. answered: a purchase, cart, click or rating in the category followed.
SELECT slot, rank, count(*) AS shown, round(avg(CAST(outcome = 'buy' AS INT)), 4) AS bought,
       round(avg(CAST(outcome = 'look' AS INT)), 4) AS looked, round(avg(CAST(responded AS INT)), 4) AS answered,
       round(avg(expected_response), 4) AS expected_answers
FROM ops.feedback
GROUP BY slot, rank
ORDER BY slot, rank;
