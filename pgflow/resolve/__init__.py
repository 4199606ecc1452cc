"""Who does what, in which order: plugins, the keys between them, and the context they share."""
