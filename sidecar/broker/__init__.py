"""Where messages pass: one backend a file, all judged by one contract suite."""
