"""The reactor: monotonic time, eager writes, many deadlines on one timer."""
