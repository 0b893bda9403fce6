"""The shapes of answers, by category of method: one TypedDict for each kind of JSON object."""
