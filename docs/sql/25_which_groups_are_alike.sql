-- Which groups of users like the same things, and what is each worth?
-- lifts: share of the group's interest over everybody's share. A group keeps its number from date to date.
SELECT segment AS interest_group, name, users, round(user_share, 3) AS share, round(spend_share, 3) AS of_spend, round(p_buy, 3) AS p_buy,
       transform(slice(categories, 1, 5), c -> concat(lower(c.category), ' x ', round(c.lift, 1))) AS lifts
FROM v_current_segment_profiles
WHERE segmentation = 'interest_group'
ORDER BY users DESC, segment;
