"""The answer: how it is kept, judged and told."""
