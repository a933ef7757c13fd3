"""Cells as job arrays of a Slurm cluster: plan, submit, run, and find out what became of them.

`commands` speaks with Slurm, `limits` knows what the cluster allows, `arrays` cuts a sweep into job arrays, `script`
writes what sbatch gets, `submit` puts these together, and `batch` is what then runs in each job.
"""
