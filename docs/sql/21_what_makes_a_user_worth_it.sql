-- What speaks for and against a purchase by the ten users who are likeliest to fall silent?
-- log_odds: what each group of signals adds to the log-odds of class buy of the middle user. Empty where the value is not from behaviour.
SELECT s.user_id, round(s.churn_risk, 3) AS churn_risk, round(s.p_buy, 3) AS p_buy, d.driver, round(d.log_odds, 2) AS log_odds
FROM (SELECT * FROM v_current_segments ORDER BY churn_risk DESC NULLS LAST, user_id LIMIT 10) s
LATERAL VIEW explode(s.drivers) t AS d
ORDER BY s.churn_risk DESC, s.user_id, abs(d.log_odds) DESC;
