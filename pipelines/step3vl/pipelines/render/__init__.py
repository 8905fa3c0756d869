"""Pictures that we draw: styles, pages of text, scenes of icons, maps."""
