"""Claims on how features are learned."""
