"""Traffic: flows from one port to another, sent on a grid, timed in the kernel, counted exactly."""
