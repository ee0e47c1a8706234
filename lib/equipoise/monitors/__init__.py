"""Is tonight as nights usually are? Input, scores, matured labels, gates and durations against bands; alerts to sinks."""
