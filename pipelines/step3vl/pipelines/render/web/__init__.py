"""Pages that Chromium or LaTeX renders, with a map from their code to places on the image."""
