-- What is each planned campaign expected to reach, cost and bring, and why is its audience empty where it is?
-- left_out: users by the first cause that holds. propensity_auc far above .5: a response is no effect of the contact.
SELECT audience_id, goal, status, eligible, left_out, reach, round(cost, 2) AS cost, round(expected_responses, 1) AS expected_responses,
  round(expected_profit, 2) AS expected_profit, round(propensity_auc, 3) AS propensity_auc, message
FROM v_current_audience_summary
ORDER BY audience_id;
