"""Changes of images that are too small to see and made to mislead: attacks, and whether they can be believed."""
