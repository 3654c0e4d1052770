"""How good a model's predictions are: perplexity, divergence from a base model, answers to questions."""
