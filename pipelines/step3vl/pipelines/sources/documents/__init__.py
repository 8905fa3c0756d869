"""Documents: PDF files with their text, images, and labels made elsewhere."""
