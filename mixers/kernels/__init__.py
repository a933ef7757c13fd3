"""Operations that PyTorch has no function for: one folder each, with one public function."""
