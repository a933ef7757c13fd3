"""What a configuration is refused with."""


class ConfigurationError(ValueError):
    """A configuration that cannot be run; the message names the key, its value and what it may be."""
