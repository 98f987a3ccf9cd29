"""How worker processes are started: on this machine, by Ray, or by SLURM."""
