"""Exercises of school with rendered figures, exact answers and worked steps, each proven by measuring the figure."""
