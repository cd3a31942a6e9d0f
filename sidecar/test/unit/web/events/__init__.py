"""Answers that last: their bounds, their signs of life, their ends."""
