"""How much of its accuracy a network keeps when images lose parts, order or frequencies, or when its weights do."""
