-- Which rules set rows aside, from which input, and what does such a row look like?
-- A row is counted under every rule it broke. row_json is the whole raw row with the pseudonym in place of the user id.
SELECT q.source, q.input, r.rule, count(*) AS rows, min(q.row_json) AS example
FROM ops.quarantine q LATERAL VIEW explode(q.rules) r AS rule
GROUP BY q.source, q.input, r.rule
ORDER BY rows DESC, q.source, q.input, r.rule;
