"""Figures that are asked for as code or data: charts, diagrams, formulas, tables, circuits, scores and others."""
