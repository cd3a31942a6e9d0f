"""What an operator asks of calls: metrics, and why a node is chosen or not."""
