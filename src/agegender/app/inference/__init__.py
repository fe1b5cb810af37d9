"""What infer.py is made of: models, sources, targets, results."""
