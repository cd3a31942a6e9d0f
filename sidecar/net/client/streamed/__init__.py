"""Requests and answers that pass in pieces, of whatever size."""
