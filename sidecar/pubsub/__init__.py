"""One subscriber's side of the talk, and its bounded outbox. Pure."""
