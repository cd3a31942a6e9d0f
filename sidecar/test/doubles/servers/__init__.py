"""Fake servers, judged by the contract suites before anything relies on them."""
