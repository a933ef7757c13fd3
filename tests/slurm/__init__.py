"""A real Slurm on this machine, and what happens to sweeps on it. `make test-slurm` runs these tests."""
