"""Loop, checkpoints, registry and tracking; torch only, but for launch, which alone knows Spark and the stream."""
