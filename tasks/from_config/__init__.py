"""What tasks make of a configuration: the network that it names, its weights, candidates for speed, the device."""
