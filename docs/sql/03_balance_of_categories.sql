-- Do the lists show categories in the shares that users want?
-- history: what users did. target: what the lists aim at. shown: what the lists hold, explore places included. Largest gaps first.
SELECT category, round(history_share, 4) AS history, round(target_share, 4) AS target, round(shown_share, 4) AS shown,
       round(shown_share - target_share, 4) AS gap, rows_explored
FROM v_current_category_balance
ORDER BY abs(shown_share - target_share) DESC, category
LIMIT 25;
