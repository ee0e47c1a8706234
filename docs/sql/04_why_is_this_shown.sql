-- What is one user shown, in which order, and why?
-- Here the user with the highest expected spend: put any pseudonym in its place.
WITH one AS (SELECT user_id FROM v_current_segments ORDER BY expected_spend DESC NULLS LAST, user_id LIMIT 1)
SELECT l.rank, l.title, l.category, l.slot, l.reason
FROM v_current_lists l JOIN one USING (user_id)
ORDER BY l.rank;
