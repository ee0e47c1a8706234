-- To which categories that they did not know do users respond more often than expected, and to which less?
-- ratio: responses ÷ expected ones, shrunk where little was shown. Without a settled exposure there is one row, of nothing shown.
SELECT category, trials, expected, responses, ratio, ratio_low, ratio_high
FROM v_current_exploration
ORDER BY ratio_low DESC, category
LIMIT 25;
