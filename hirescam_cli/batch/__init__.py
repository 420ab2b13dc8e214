"""Plans, runs and resumes: many scans, unattended, on one machine or many."""

from hirescam_cli.batch.options import RunOptions
from hirescam_cli.batch.plan import Part, Plan, plan

__all__ = ["Part", "Plan", "RunOptions", "plan"]
