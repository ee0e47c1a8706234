-- Which categories did users gain, lose and come back to, over all windows?
-- Each is counted only with evidence in visit days against the user's own history and everybody's trend.
SELECT category, sum(gained) AS gained, sum(lost) AS lost, sum(returning) AS returning
FROM v_current_moves
GROUP BY category
ORDER BY gained + lost + returning DESC, category
LIMIT 20;
