"""One job, from its command line to its exit code."""

from equipoise.job.context import Context, Job
from equipoise.job.run import main

__all__ = ["Context", "Job", "main"]
