"""The client commands, each a function from an invocation to its exit code."""
