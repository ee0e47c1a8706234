-- How many users moved up or down since the last date, and what is that worth?
-- retold: nothing was published before, so the segments of previous_as_of were made afterwards from what was known then.
SELECT previous_as_of, retold, from_segment, to_segment, users, round(value_change, 0) AS change_of_expected_spend
FROM v_current_segment_transitions
WHERE segmentation = 'value_tier'
ORDER BY from_segment, to_segment;
