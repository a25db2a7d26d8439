"""Record what a training run computes, step by step."""
