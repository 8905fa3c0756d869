"""Objects in images and questions about them: what annotated sets, composites and maps share."""
