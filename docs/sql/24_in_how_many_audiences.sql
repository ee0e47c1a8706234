-- Which users are in the audiences of several campaigns at once, and what for?
-- Each campaign chooses for itself: frequency_cap counts what was shown before, not what is planned for the same night.
SELECT user_id, count(*) AS audiences, round(sum(cost), 2) AS cost, round(sum(expected_profit), 2) AS expected_profit,
  array_join(array_sort(collect_list(concat(audience_id, ': ', reason))), ' + ') AS why
FROM v_current_audiences
GROUP BY user_id
HAVING count(*) > 1
ORDER BY audiences DESC, expected_profit DESC, user_id
LIMIT 30;
