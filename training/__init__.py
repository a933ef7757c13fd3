"""How a network learns: data sets, recipes' parts, the training loop, checkpoints and evaluation.

`training.settings` imports neither torch nor timm; everything that does is imported by its own name,
for instance `from training.train import train`.
"""
