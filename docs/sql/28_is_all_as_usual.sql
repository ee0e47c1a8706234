-- What was not as usual on the last day, and since when?
-- One row per monitor and subject that warns or fails, days_in_a_row counts back over the days that were judged in the same night.
WITH judged AS (
  SELECT monitor, subject, day, status, value, usual, message, asks_training,
         max(CASE WHEN status IN ('ok', 'unknown') THEN day END) OVER (PARTITION BY monitor, subject) AS last_good,
         max(day) OVER () AS newest
  FROM v_current_monitors
)
SELECT monitor, subject, status, round(value, 4) AS seen, round(usual, 4) AS usual,
       datediff(day, coalesce(last_good, date_sub(day, 1))) AS days_in_a_row, asks_training, message
FROM judged
WHERE day = newest AND status IN ('warn', 'fail')
ORDER BY status, monitor, subject
