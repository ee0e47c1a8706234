-- What is balance expected to cost in accuracy tonight, per weight of calibration, and which weight did the lists get?
SELECT
  calibration,
  round(100 * accuracy_loss, 2) AS accuracy_loss_percent,
  round(kl_bits, 3) AS bits_from_target,
  round(first(kl_bits) OVER (ORDER BY calibration) - kl_bits, 3) AS bits_nearer,
  chosen
FROM v_current_balance
ORDER BY calibration;
