"""Ways to ask the registry: what there is, as soon as it is otherwise, what changes, and how it was."""
