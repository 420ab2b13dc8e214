"""Plans, runs and resumes: many scans, unattended, on one machine or many."""
