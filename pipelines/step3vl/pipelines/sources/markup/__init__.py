"""Documents as trees that HTML, Markdown, LaTeX and notebooks are read into and written from."""
