-- Which items is one user most likely to take next, and how much of that does the list show?
-- p_next_trip is the chance that the item is in the user's next trip. Place is empty where balance or the list's length left it out.
SELECT v.item_id, i.title, round(v.p_next_trip, 4) AS p_next_trip, round(v.p_buy, 4) AS p_buy, v.purchases, v.source, r.rank AS place
FROM v_current_item_values v
LEFT JOIN v_current_items i ON i.item_id = v.item_id
LEFT JOIN v_current_recommendations r ON r.user_id = v.user_id AND r.item_id = v.item_id
WHERE v.user_id = (SELECT min(user_id) FROM v_current_segments)
ORDER BY v.p_next_trip DESC, v.item_id
LIMIT 20;
