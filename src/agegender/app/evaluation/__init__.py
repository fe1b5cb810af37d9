"""What eval.py is made of: sets, models, several of either, comparisons, and what is written."""
