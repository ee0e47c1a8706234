-- What did each job do last, how long did it take, and from which table versions?
SELECT job, as_of, status, attempt, round(timestampdiff(MILLISECOND, started_at, finished_at) / 1000, 1) AS seconds, inputs, outputs, message
FROM (SELECT *, row_number() OVER (PARTITION BY job ORDER BY started_at DESC, attempt DESC, run_id) AS age FROM ops.runs)
WHERE age = 1
ORDER BY started_at;
