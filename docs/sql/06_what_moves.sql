-- Which categories gained and lost most between the last two closed windows?
-- The mean share over the users active in each window. Change is in points of 100.
WITH closed AS (SELECT * FROM v_current_category_shares WHERE closed),
     ends AS (SELECT window_end, dense_rank() OVER (ORDER BY window_end DESC) AS age FROM closed GROUP BY window_end),
     users AS (SELECT window_end, count(DISTINCT user_id) AS users FROM closed GROUP BY window_end),
     means AS (SELECT c.category, e.age, sum(c.share) / max(u.users) AS share
               FROM closed c JOIN ends e USING (window_end) JOIN users u USING (window_end) WHERE e.age <= 2 GROUP BY c.category, e.age)
SELECT category, round(100 * sum(CASE WHEN age = 2 THEN share ELSE 0 END), 2) AS before,
       round(100 * sum(CASE WHEN age = 1 THEN share ELSE 0 END), 2) AS now,
       round(100 * sum(CASE WHEN age = 1 THEN share ELSE -share END), 2) AS points
FROM means
GROUP BY category
ORDER BY abs(points) DESC, category
LIMIT 20;
