"""Exit statuses of `ecot train` that scripts may act on."""

EXIT_PREEMPTED = 75
"""It saved and stopped because of a signal (EX_TEMPFAIL of sysexits.h): the same command continues."""
