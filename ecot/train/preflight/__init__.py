"""Before a job holds GPUs: does it fit in memory and on disk, how long will it take, does anything contradict."""
