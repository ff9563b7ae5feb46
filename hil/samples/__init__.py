"""What was measured: the samples table, exact accounting, metrics, outages. Pure; no I/O but files."""
