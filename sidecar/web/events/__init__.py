"""Answers that take as long as their callers like: streams of events, and requests that wait for a change."""
