"""Exit statuses of `ecot train` and `ecot preflight` that scripts may act on."""

EXIT_PREEMPTED = 75
"""It saved and stopped because of a signal (EX_TEMPFAIL of sysexits.h): the same command continues."""

EXIT_NOT_PREPARED = 3
"""`ecot preflight --prepared`: nothing is wrong, but store or plan have yet to be made (`ecot plan`)."""
