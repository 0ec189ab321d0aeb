"""Many jobs over a night: a job file read and ordered, each job's state on disk, workers here or on a cluster."""
