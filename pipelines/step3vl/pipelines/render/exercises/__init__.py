"""Exercises of school with drawn figures, exact answers and worked steps, each proven by measuring the drawing."""
