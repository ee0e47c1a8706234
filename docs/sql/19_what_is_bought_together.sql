-- What is bought together with what, more often than chance would have it?
-- extra_baskets: baskets with both sides, above what independence would give. Try level = 'category' too.
SELECT
  array_join(antecedent, ' + ') AS if_basket_has,
  consequent AS then_also,
  round(support, 4) AS support,
  round(confidence, 3) AS confidence,
  round(lift, 1) AS lift,
  round(leverage * baskets) AS extra_baskets
FROM v_current_item_rules
WHERE level = 'product_type'
ORDER BY lift DESC, if_basket_has, then_also
LIMIT 30;
