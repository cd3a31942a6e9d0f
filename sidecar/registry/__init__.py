"""Where services are found: one backend a file, all judged by one contract suite."""
