"""The DCNv3 operation. One public function, `dcnv3`; the files beside this one are its implementations."""

from .reference import dcnv3

__all__ = ["dcnv3"]
